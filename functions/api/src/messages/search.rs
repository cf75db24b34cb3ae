//! `GET /room/{name}/message/search`: messages that contain a text, in any script, newest first.

use axum::{Json, extract::State};
use protocol::{RoomName, Seq};
use serde::Deserialize;
use store::{db::on_db, fold};

use super::{
    unarchived::{UnarchivedTail, Wanted},
    view::{ArchivedMessage, DeletedAuthors, MessageView},
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

/// The text to search for; a single character would match nearly everything.
type Sought = SearchTerm<2, 100>;

/// Unarchived messages that are searched.
const RECENT: usize = 1_000;

/// What is looked for, and which page of what is found.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Query {
    /// A part of a message's text, upper and lower case alike.
    #[param(inline)]
    q: Sought,
    cursor: Option<Cursor>,
    limit: Option<Limit>,
}

refusals!(NotSearched: NotAMember, Banned, TooManySearches);

/// Search a room's messages, newest first
#[utoipa::path(get, path = "/room/{name}/message/search", tag = "messages",
    params(("name" = RoomName, Path), Query),
    security(("access" = [])),
    responses((status = 200, body = Page<MessageView>), NotSearched))]
pub async fn search(
    State(state): State<AppState>,
    user: AuthUser,
    RoomPath(name): RoomPath,
    Params(Query { q: part, cursor, limit }): Params<Query>,
) -> Result<Json<Page<MessageView>>, ApiError> {
    let mut room = access::membership(&state, &name, user.id()).await?.room;
    let search = state.searches.begin(user.id()).await?;
    let limit = limit.unwrap_or_default();
    let before: Seq = cursor.as_deref().map(pagination::decode).transpose()?.unwrap_or(Seq::MAX);
    let wanted = Wanted::Last { before, limit: RECENT };
    let tail = UnarchivedTail::read(&state, &mut room, user.id(), wanted).await?;
    let rows = archived(&state, &room, &part, before, limit.and_one()).await?;
    search.done();
    let folded = fold::fold(&part);
    let contains = |item: &MessageView| fold::fold(item.message.msg.as_str()).contains(&folded);
    let gone = DeletedAuthors::among(&state, rows.iter().map(|row| row.author_id)).await?;
    let archived = rows.into_iter().map(|row| {
        let mut item = MessageView::archived(&room, row, &gone)?;
        // Reactions are not looked up: the results lie far apart.
        tail.apply(&mut item, |_, _| true)?;
        Ok(item)
    });
    let archived = archived.collect::<Result<Vec<_>, ApiError>>()?;
    let recent = tail.into_items().into_iter().rev().filter(contains);
    let found = recent.chain(archived).collect();
    let (mut items, next) = pagination::page_of(found, limit, |item: &MessageView| item.seq);
    // A message that was changed or deleted a moment ago may no longer match.
    items.retain(contains);
    Ok(Json(Page { items, next }))
}

async fn archived(
    state: &AppState,
    room: &RoomRow,
    part: &str,
    before: Seq,
    limit: i64,
) -> Result<Vec<ArchivedMessage>, ApiError> {
    // Later messages are searched in the stream.
    let before = before.min(room.archived_seq.next());
    // Not prepared: whether the trigram index helps depends on the text.
    Ok(on_db!(&state.store.database, e => sqlx::query_as(
        "SELECT seq, id, author_id, author_name, msg, file, reply_to, at, edited_at, deleted_at
         FROM message WHERE room_id = $1 AND seq < $2 AND deleted_at IS NULL AND parts LIKE $4 ESCAPE '\\'
         ORDER BY seq DESC LIMIT $3"
    )
    .bind(room.id)
    .bind(i64::from(before))
    .bind(limit)
    .bind(fold::containing(part))
    .persistent(false)
    .fetch_all(e))?)
}
