//! `GET /room/{name}/message`: pages of history, from the database and, for what is not archived yet,
//! from the stream.
//!
//! No message falls between the two: how far the database is was read before the stream is, and the
//! stream keeps an event for long after it was archived.

use std::collections::VecDeque;

use axum::{Json, extract::State as Shared};
use chrono::{DateTime, Utc};
use protocol::{
    RoomId,
    stored::{FileRef, Message, StoredEvent},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::room::{self, RoomRow};
use crate::{
    db::on_db,
    error::{ApiError, Problem},
    extract::{AuthUser, InRoom, Params},
    paging::{self, Limit, Page},
    state::State,
};

/// Events read from the stream by one request to it.
const BATCH: usize = 256;

/// A message of the past.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    room_id: RoomId,
    seq: u64,
    #[serde(flatten)]
    message: Message,
}

/// Which page: the newest one without `before` and `after`.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Window {
    /// Only messages before this seq; `next` leads to older ones.
    before: Option<u64>,
    /// Only messages after this seq; `next` leads to newer ones.
    after: Option<u64>,
    /// `next` of the page before, in the place of `before` or `after`.
    cursor: Option<String>,
    limit: Option<Limit>,
}

/// Where a page lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Direction {
    Before(u64),
    After(u64),
}

#[derive(sqlx::FromRow)]
struct MessageRow {
    seq: i64,
    id: Uuid,
    author_id: Uuid,
    author_name: String,
    msg: String,
    file: Option<String>,
    reply_to: Option<i64>,
    at: DateTime<Utc>,
}

impl Window {
    fn direction(&self) -> Result<Direction, ApiError> {
        match (self.before, self.after, self.cursor.as_deref()) {
            (None, None, None) => Ok(Direction::Before(protocol::event::MAX_SEQ)),
            (Some(before), None, None) => Ok(Direction::Before(before)),
            (None, Some(after), None) => Ok(Direction::After(after)),
            (None, None, Some(cursor)) => paging::decode(cursor),
            _ => Err(ApiError::Invalid {
                field: "query",
                detail: "give one of before, after and cursor".into(),
            }),
        }
    }
}

/// Read a page of messages, oldest first
#[utoipa::path(get, path = "/room/{name}/message", tag = "messages", params(("name" = String, Path), Window),
    security(("access" = [])),
    responses((status = 200, body = Page<Item>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub async fn history(
    Shared(state): Shared<State>,
    user: AuthUser,
    InRoom(name): InRoom,
    Params(window): Params<Window>,
) -> Result<Json<Page<Item>>, ApiError> {
    let direction = window.direction()?;
    let room = room::membership(&state, &name, user.id()).await?.room;
    let limit = window.limit.unwrap_or_default().count();
    // One more tells whether there is a next page.
    let mut items = match direction {
        Direction::After(after) => after_seq(&state, &room, after, limit + 1).await?,
        Direction::Before(before) => before_seq(&state, &room, before, limit + 1).await?,
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
    let next = next.filter(|_| has_more).map(|position| paging::encode(&position));
    Ok(Json(Page { items, next }))
}

/// The first messages after a seq, oldest first.
async fn after_seq(
    state: &State,
    room: &RoomRow,
    after: u64,
    limit: usize,
) -> Result<Vec<Item>, ApiError> {
    let rows: Vec<MessageRow> = on_db!(&state.database, e => sqlx::query_as(
        "SELECT seq, id, author_id, author_name, msg, file, reply_to, at FROM message
         WHERE room_id = $1 AND seq > $2 AND seq <= $3 ORDER BY seq LIMIT $4"
    )
    .bind(room.id)
    .bind(bound(after))
    .bind(room.archived_seq)
    .bind(limit as i64)
    .fetch_all(e))?;
    let mut items = rows.into_iter().map(|row| item(room, row)).collect::<Result<Vec<_>, _>>()?;
    let mut from = after.max(room.archived());
    while items.len() < limit {
        let entries = state.log.after(room.room_id(), from, BATCH).await?;
        let Some(last) = entries.last() else { break };
        from = last.seq;
        let is_all = entries.len() < BATCH;
        items.extend(entries.iter().filter_map(|entry| stored_item(room, entry)));
        if is_all {
            break;
        }
    }
    items.truncate(limit);
    Ok(items)
}

/// The last messages before a seq, oldest first.
async fn before_seq(
    state: &State,
    room: &RoomRow,
    before: u64,
    limit: usize,
) -> Result<Vec<Item>, ApiError> {
    // The stream has no reading backwards; what is not archived is short, and only its end is kept.
    let mut newest: VecDeque<Item> = VecDeque::new();
    let mut from = room.archived();
    while from + 1 < before {
        let entries = state.log.after(room.room_id(), from, BATCH).await?;
        let Some(last) = entries.last() else { break };
        from = last.seq;
        let is_all = entries.len() < BATCH;
        let items = entries.iter().filter(|entry| entry.seq < before);
        newest.extend(items.filter_map(|entry| stored_item(room, entry)));
        newest.drain(..newest.len().saturating_sub(limit));
        if is_all {
            break;
        }
    }
    let rows: Vec<MessageRow> = on_db!(&state.database, e => sqlx::query_as(
        "SELECT seq, id, author_id, author_name, msg, file, reply_to, at FROM message
         WHERE room_id = $1 AND seq < $2 AND seq <= $3 ORDER BY seq DESC LIMIT $4"
    )
    .bind(room.id)
    .bind(bound(before))
    .bind(room.archived_seq)
    .bind((limit - newest.len()) as i64)
    .fetch_all(e))?;
    let archived = rows.into_iter().rev().map(|row| item(room, row));
    let mut items = archived.collect::<Result<Vec<_>, _>>()?;
    items.extend(newest);
    Ok(items)
}

fn bound(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

fn stored_item(room: &RoomRow, entry: &service::roomlog::Entry) -> Option<Item> {
    match StoredEvent::decode(&entry.payload) {
        Ok(StoredEvent::ReceiveMsg(message)) => {
            Some(Item { room_id: room.room_id(), seq: entry.seq, message })
        }
        _ => None,
    }
}

fn item(room: &RoomRow, row: MessageRow) -> Result<Item, ApiError> {
    let broken = |what: &str| ApiError::Internal(anyhow::anyhow!("an archived message's {what}"));
    let file: Option<FileRef> = match row.file {
        Some(json) => Some(serde_json::from_str(&json).map_err(|_| broken("file"))?),
        None => None,
    };
    let message = Message {
        id: row.id.into(),
        from: protocol::stored::Person {
            id: row.author_id.into(),
            name: row.author_name.parse().map_err(|_| broken("author"))?,
        },
        msg: row.msg.parse().map_err(|_| broken("text"))?,
        at: row.at.into(),
        file,
        reply_to: row.reply_to.and_then(|seq| seq.try_into().ok()),
    };
    let seq = u64::try_from(row.seq).map_err(|_| broken("seq"))?;
    Ok(Item { room_id: room.room_id(), seq, message })
}
