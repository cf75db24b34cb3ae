//! `GET /room/{name}/message/search`: messages that contain a text, in any script, newest first.

use axum::{Json, extract::State as Shared};
use protocol::event::MAX_SEQ;
use serde::Deserialize;

use super::{
    membership,
    past::{Item, MessageRow, select_message},
    room::RoomRow,
    tail::{Tail, Wanted},
};
use crate::{
    db::on_db,
    error::{ApiError, Problem},
    extract::{AuthUser, InRoom, Params},
    fold,
    paging::{self, Limit, Page},
    state::State,
};

/// Characters that are looked for: one alone is everywhere.
const CHARS: std::ops::RangeInclusive<usize> = 2..=100;

/// Messages of the last moment that are looked through.
const RECENT: usize = 1_000;

/// What is looked for.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, min_length = 2, max_length = 100, example = "hello")]
pub struct Part(String);

impl TryFrom<String> for Part {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let chars = text.chars().count();
        if text.contains('\0') {
            return Err("must not contain NUL".to_owned());
        }
        if CHARS.contains(&chars) {
            return Ok(Self(text));
        }
        Err(format!("must have {} to {} characters, has {chars}", CHARS.start(), CHARS.end()))
    }
}

/// What is looked for, and which page of what is found.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Query {
    /// A part of a message's text, upper and lower case alike.
    q: Part,
    cursor: Option<String>,
    limit: Option<Limit>,
}

/// Search a room's messages, newest first
#[utoipa::path(get, path = "/room/{name}/message/search", tag = "messages", params(("name" = String, Path), Query),
    security(("access" = [])),
    responses((status = 200, body = Page<Item>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub async fn search(
    Shared(state): Shared<State>,
    user: AuthUser,
    InRoom(name): InRoom,
    Params(Query { q: Part(part), cursor, limit }): Params<Query>,
) -> Result<Json<Page<Item>>, ApiError> {
    let room = membership::membership(&state, &name, user.id()).await?.room;
    let limit = limit.unwrap_or_default();
    let before: u64 = cursor.as_deref().map(paging::decode).transpose()?.unwrap_or(MAX_SEQ);
    let wanted = Wanted::Last { before, limit: RECENT };
    let tail = Tail::read(&state, &room, user.id(), wanted).await?;
    let rows = archived(&state, &room, &part, before, limit.and_one()).await?;
    let folded = fold::fold(&part);
    let contains = |item: &Item| fold::fold(item.message.msg.as_str()).contains(&folded);
    let archived = rows.into_iter().map(|row| {
        let mut item = Item::archived(&room, row, tail.gone())?;
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
    before: u64,
    limit: i64,
) -> Result<Vec<MessageRow>, ApiError> {
    // Planned anew for every text: whether the index of parts helps depends on the part.
    Ok(on_db!(&state.database, e => sqlx::query_as(select_message!(
        "WHERE room_id = $1 AND seq < $2 AND seq <= $3 AND deleted_at IS NULL
           AND COALESCE(folded, msg) LIKE $4 ESCAPE '\\'
         ORDER BY seq DESC LIMIT $5"
    ))
    .bind(room.id)
    .bind(i64::try_from(before).unwrap_or(i64::MAX))
    .bind(room.archived_seq)
    .bind(fold::containing(part))
    .bind(limit)
    .persistent(false)
    .fetch_all(e))?)
}
