//! `GET /room/{name}/message/search`: substring search in a room's messages, newest first. Case and width do not
//! matter.

use axum::{Json, extract::State};
use protocol::{RoomName, Seq, fold::fold};
use serde::Deserialize;
use store::{db::on_db, search_text};

use super::{
    unarchived::{MessageRange, UnarchivedTail},
    view::{ArchivedMessage, DeletedAuthors, MessagePage, MessageView},
};
use crate::{
    docs::refusals::refusals,
    error::ApiError,
    extract::{AuthUser, Params, RoomPath},
    members::access,
    pagination::{self, Cursor, Limit, Page, SearchTerm},
    room_row::RoomRow,
    state::AppState,
};

/// The text to search for. A single letter would match nearly every message.
type MessageSearchTerm = SearchTerm<2, 100>;

/// Unarchived messages that are searched: the newest ones.
const UNARCHIVED_MAX: usize = 1_000;

/// Query parameters of GET /room/{name}/message/search.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SearchQuery {
    /// A part of a message's text. Upper and lower case, width and combining forms do not matter. One character is
    /// enough in Chinese, Japanese and Korean, and one emoji.
    #[param(inline)]
    q: MessageSearchTerm,
    cursor: Option<Cursor>,
    limit: Option<Limit>,
}

refusals!(SearchRefusals: NotAMember, Banned, TooManySearches);

/// Search a room's messages, newest first
#[utoipa::path(get, path = "/room/{name}/message/search", operation_id = "search_messages", tag = "messages",
    params(("name" = RoomName, Path), SearchQuery),
    security(("access" = [])),
    responses((status = 200, body = MessagePage), SearchRefusals))]
pub async fn search(
    State(state): State<AppState>,
    user: AuthUser,
    RoomPath(name): RoomPath,
    Params(SearchQuery { q: term, cursor, limit }): Params<SearchQuery>,
) -> Result<Json<MessagePage>, ApiError> {
    let mut room = access::membership(&state, &name, user.id()).await?.room;
    let search = state.searches.begin(user.id()).await?;
    let limit = limit.unwrap_or_default();
    let before: Seq = cursor.as_deref().map(pagination::decode).transpose()?.unwrap_or(Seq::MAX);
    let range = MessageRange::Last { before, limit: UNARCHIVED_MAX };
    let tail = UnarchivedTail::read(&state, &mut room, user.id(), range).await?;
    let rows = search_archived(&state, &room, &term, before, limit.and_one()).await?;
    search.done();
    let folded = fold(&term);
    let contains = |item: &MessageView| fold(item.message.msg.as_str()).contains(&folded);
    let deleted_authors =
        DeletedAuthors::among(&state, rows.iter().map(|row| row.author_id)).await?;
    let archived = rows.into_iter().map(|row| {
        let mut item = MessageView::archived(&room, row, &deleted_authors)?;
        // Results have no reactions, because they are far apart in the room and one range read would not cover them.
        // With `true`, reactions that the tail adds are skipped; those that it removes find nothing to remove.
        tail.apply(&mut item, |_, _| true)?;
        Ok(item)
    });
    let archived = archived.collect::<Result<Vec<_>, ApiError>>()?;
    let unarchived = tail.into_items().into_iter().rev().filter(contains);
    let found = unarchived.chain(archived).collect();
    let (mut items, next) = pagination::page_of(found, limit, |item: &MessageView| item.seq);
    // An archived message with an unarchived edit or deletion may no longer match.
    items.retain(contains);
    Ok(Json(Page { items, next }))
}

async fn search_archived(
    state: &AppState,
    room: &RoomRow,
    term: &str,
    before: Seq,
    limit: i64,
) -> Result<Vec<ArchivedMessage>, ApiError> {
    // Later messages are in the tail, which is searched in memory.
    let before = before.min(room.archived_seq.next());
    // Not a cached statement, so that PostgreSQL plans it for this term: whether the trigram index helps depends on
    // the term.
    Ok(on_db!(&state.store.database, e => sqlx::query_as(
        "SELECT seq, id, author_id, author_name, msg, file, reply_to, at, edited_at, deleted_at
         FROM message WHERE room_id = $1 AND seq < $2 AND deleted_at IS NULL AND parts LIKE $4 ESCAPE '\\'
         ORDER BY seq DESC LIMIT $3"
    )
    .bind(room.id)
    .bind(i64::from(before))
    .bind(limit)
    .bind(search_text::like_pattern(term))
    .persistent(false)
    .fetch_all(e))?)
}
