//! `GET /room/{name}/message/search`: messages that contain a text, in any script, newest first.

use axum::{Json, extract::State as Shared};
use protocol::{RoomName, Seq};
use serde::Deserialize;
use store::{db::on_db, fold};

use super::{
    membership,
    past::{Gone, Item, MessageRow, select_message},
    room::RoomRow,
    tail::{Tail, Wanted},
};
use crate::{
    docs::refusals::refusals,
    error::ApiError,
    extract::{AuthUser, InRoom, Params},
    paging::{self, Cursor, Limit, Page, Part},
    state::State,
};

/// The part of a text that is looked for: one character alone is everywhere.
type Sought = Part<2, 100>;

/// Messages of the last moment that are looked through.
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
    responses((status = 200, body = Page<Item>), NotSearched))]
pub async fn search(
    Shared(state): Shared<State>,
    user: AuthUser,
    InRoom(name): InRoom,
    Params(Query { q: part, cursor, limit }): Params<Query>,
) -> Result<Json<Page<Item>>, ApiError> {
    let mut room = membership::membership(&state, &name, user.id()).await?.room;
    let search = state.searches.begin(user.id()).await?;
    let limit = limit.unwrap_or_default();
    let before: Seq = cursor.as_deref().map(paging::decode).transpose()?.unwrap_or(Seq::MAX);
    let wanted = Wanted::Last { before, limit: RECENT };
    let tail = Tail::read(&state, &mut room, user.id(), wanted).await?;
    let rows = archived(&state, &room, &part, before, limit.and_one()).await?;
    search.done();
    let folded = fold::fold(&part);
    let contains = |item: &Item| fold::fold(item.message.msg.as_str()).contains(&folded);
    let gone = Gone::among(&state, rows.iter().map(|row| row.author_id)).await?;
    let archived = rows.into_iter().map(|row| {
        let mut item = Item::archived(&room, row, &gone)?;
        // Reactions are not looked up: what is found lies far apart.
        tail.apply(&mut item, |_, _| true)?;
        Ok(item)
    });
    let archived = archived.collect::<Result<Vec<_>, ApiError>>()?;
    let recent = tail.into_items().into_iter().rev().filter(contains);
    let found = recent.chain(archived).collect();
    let (mut items, next) = paging::cut(found, limit, |item: &Item| item.seq);
    // Changed or deleted a moment ago, one may no longer contain it.
    items.retain(contains);
    Ok(Json(Page { items, next }))
}

async fn archived(
    state: &State,
    room: &RoomRow,
    part: &str,
    before: Seq,
    limit: i64,
) -> Result<Vec<MessageRow>, ApiError> {
    // Later ones are looked through in the stream.
    let before = before.min(room.archived_seq.next());
    // Planned anew for every text: whether the index of parts helps depends on the part.
    Ok(on_db!(&state.database, e => sqlx::query_as(select_message!(
        "WHERE room_id = $1 AND seq < $2 AND deleted_at IS NULL AND parts LIKE $4 ESCAPE '\\'
         ORDER BY seq DESC LIMIT $3"
    ))
    .bind(room.id)
    .bind(i64::from(before))
    .bind(limit)
    .bind(fold::containing(part))
    .persistent(false)
    .fetch_all(e))?)
}
