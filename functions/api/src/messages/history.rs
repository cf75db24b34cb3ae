//! `GET /room/{name}/message`: pages of history, from the database and, for what is not archived yet,
//! from the stream.
//!
//! Nothing falls between the two: how far the database is was read before the stream is, and the
//! stream keeps an event for long after it was archived. So a message, an edit, a deletion or a
//! reaction that was acknowledged before the request is in the answer.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue},
};
use protocol::{RoomName, Seq, safe_integer::SafeInteger};
use serde::{Deserialize, Serialize};
use store::db::on_db;

use super::{
    reactions,
    unarchived::{UnarchivedTail, Wanted},
    view::{ArchivedMessage, DeletedAuthors, MessageView},
};
use crate::{
    docs::refusals::refusals,
    error::ApiError,
    extract::{AuthUser, Params, RoomPath},
    layers::HISTORY,
    members::access,
    pagination::{self, Cursor, Limit, Page},
    room_row::RoomRow,
    state::AppState,
};

/// Which page: the newest one without `before` and `after`.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Window {
    /// Only messages before this seq; `next` leads to older ones.
    before: Option<SafeInteger>,
    /// Only messages after this seq; `next` leads to newer ones.
    after: Option<SafeInteger>,
    /// `next` of the page before, in the place of `before` or `after`.
    cursor: Option<Cursor>,
    limit: Option<Limit>,
}

/// Where a page lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Direction {
    Before(Seq),
    After(Seq),
}

impl Window {
    fn direction(&self) -> Result<Direction, ApiError> {
        match (self.before, self.after, self.cursor.as_deref()) {
            (None, None, None) => Ok(Direction::Before(Seq::MAX)),
            (Some(before), None, None) => Ok(Direction::Before(before.into())),
            (None, Some(after), None) => Ok(Direction::After(after.into())),
            (None, None, Some(cursor)) => pagination::decode(cursor),
            _ => Err(ApiError::Invalid {
                field: "query",
                detail: "give one of before, after and cursor".into(),
            }),
        }
    }
}

refusals!(NotRead: NotAMember, Banned);

/// Read a page of messages, oldest first
#[utoipa::path(get, path = "/room/{name}/message", tag = "messages",
    params(("name" = RoomName, Path), Window),
    security(("access" = [])),
    responses((status = 200, body = Page<MessageView>, headers(("x-history" = Option<String>,
            description = "`archived` while NATS does not answer: what is not archived yet is missing"))), NotRead))]
pub async fn history(
    State(state): State<AppState>,
    user: AuthUser,
    RoomPath(name): RoomPath,
    Params(window): Params<Window>,
) -> Result<(HeaderMap, Json<Page<MessageView>>), ApiError> {
    let direction = window.direction()?;
    let mut room = access::membership(&state, &name, user.id()).await?.room;
    let limit = window.limit.unwrap_or_default().count();
    // One more tells whether there is a next page.
    let wanted = match direction {
        Direction::After(after) => Wanted::First { after, limit: limit + 1 },
        Direction::Before(before) => Wanted::Last { before, limit: limit + 1 },
    };
    let tail = UnarchivedTail::read(&state, &mut room, user.id(), wanted).await?;
    let headers = if tail.is_whole() { HeaderMap::new() } else { only_archived() };
    let mut items = match direction {
        Direction::After(after) => after_seq(&state, &room, after, limit + 1, tail).await?,
        Direction::Before(before) => before_seq(&state, &room, before, limit + 1, tail).await?,
    };
    let has_more = items.len() > limit;
    let next = match direction {
        Direction::After(_) => {
            items.truncate(limit);
            items.last().map(|item| Direction::After(item.seq))
        }
        Direction::Before(_) => {
            if has_more {
                items.remove(0);
            }
            items.first().map(|item| Direction::Before(item.seq))
        }
    };
    let next = next.filter(|_| has_more).map(|position| pagination::encode(&position));
    Ok((headers, Json(Page { items, next })))
}

/// The header that says that newer messages may be missing.
fn only_archived() -> HeaderMap {
    HeaderMap::from_iter([(HISTORY, HeaderValue::from_static("archived"))])
}

/// The first messages after a seq, oldest first.
async fn after_seq(
    state: &AppState,
    room: &RoomRow,
    after: Seq,
    limit: usize,
    tail: UnarchivedTail,
) -> Result<Vec<MessageView>, ApiError> {
    let rows: Vec<ArchivedMessage> = on_db!(&state.store.database, e => sqlx::query_as(
        "SELECT seq, id, author_id, author_name, msg, file, reply_to, at, edited_at, deleted_at
         FROM message WHERE room_id = $1 AND seq > $2 AND seq <= $3 ORDER BY seq LIMIT $4"
    )
    .bind(room.id)
    .bind(i64::from(after))
    .bind(i64::from(room.archived_seq))
    .bind(limit as i64)
    .fetch_all(e))?;
    let mut items = whole(state, room, rows, &tail).await?;
    items.extend(tail.into_items());
    items.truncate(limit);
    Ok(items)
}

/// The last messages before a seq, oldest first.
async fn before_seq(
    state: &AppState,
    room: &RoomRow,
    before: Seq,
    limit: usize,
    tail: UnarchivedTail,
) -> Result<Vec<MessageView>, ApiError> {
    let mut rows: Vec<ArchivedMessage> = on_db!(&state.store.database, e => sqlx::query_as(
        "SELECT seq, id, author_id, author_name, msg, file, reply_to, at, edited_at, deleted_at
         FROM message WHERE room_id = $1 AND seq < $2 AND seq <= $3 ORDER BY seq DESC LIMIT $4"
    )
    .bind(room.id)
    .bind(i64::from(before))
    .bind(i64::from(room.archived_seq))
    .bind(limit.saturating_sub(tail.len()) as i64)
    .fetch_all(e))?;
    rows.reverse();
    let mut items = whole(state, room, rows, &tail).await?;
    items.extend(tail.into_items());
    Ok(items)
}

/// Archived messages with their reactions and unarchived changes.
async fn whole(
    state: &AppState,
    room: &RoomRow,
    rows: Vec<ArchivedMessage>,
    tail: &UnarchivedTail,
) -> Result<Vec<MessageView>, ApiError> {
    let gone = DeletedAuthors::among(state, rows.iter().map(|row| row.author_id)).await?;
    let items = rows.into_iter().map(|row| MessageView::archived(room, row, &gone));
    let mut items = items.collect::<Result<Vec<_>, _>>()?;
    reactions::add(state, room, &mut items, tail).await?;
    Ok(items)
}
