//! `GET /room/{name}/message`: pages of history. Archived messages are read from the database, later ones from the
//! stream.
//!
//! Reads are read-your-writes: a message, an edit, a deletion or a reaction that was acknowledged before the request
//! is in the response. No event is missed between database and stream, because the watermark of the database is read
//! before the stream, and the stream keeps events for some time after they were archived.

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
    unarchived::{MessageRange, UnarchivedTail},
    view::{ArchivedMessage, DeletedAuthors, MessagePage, MessageView},
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

/// Query parameters of GET /room/{name}/message. Default: the newest page.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HistoryQuery {
    /// Only messages before this seq; `next` continues with older ones.
    before: Option<SafeInteger>,
    /// Only messages after this seq; `next` continues with newer ones.
    after: Option<SafeInteger>,
    /// `next` of the previous page, instead of `before` or `after`.
    cursor: Option<Cursor>,
    limit: Option<Limit>,
}

/// Start and direction of a page; also the content of a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Direction {
    Before(Seq),
    After(Seq),
}

impl HistoryQuery {
    fn direction(&self) -> Result<Direction, ApiError> {
        match (self.before, self.after, self.cursor.as_deref()) {
            (None, None, None) => Ok(Direction::Before(Seq::MAX)),
            (Some(before), None, None) => Ok(Direction::Before(before.into())),
            (None, Some(after), None) => Ok(Direction::After(after.into())),
            (None, None, Some(cursor)) => pagination::decode(cursor),
            _ => Err(ApiError::Invalid {
                field: "query",
                detail: "give at most one of before, after and cursor".into(),
            }),
        }
    }
}

refusals!(HistoryRefusals: NotAMember, Banned);

/// Read a page of messages, oldest first
#[utoipa::path(get, path = "/room/{name}/message", operation_id = "list_messages", tag = "messages",
    params(("name" = RoomName, Path), HistoryQuery),
    security(("access" = [])),
    responses((status = 200, body = MessagePage, headers(("x-history" = Option<String>,
            description = "`archived` if NATS does not answer: messages that are not archived yet are missing"))),
        HistoryRefusals))]
pub async fn history(
    State(state): State<AppState>,
    user: AuthUser,
    RoomPath(name): RoomPath,
    Params(query): Params<HistoryQuery>,
) -> Result<(HeaderMap, Json<MessagePage>), ApiError> {
    let direction = query.direction()?;
    let mut room = access::membership(&state, &name, user.id()).await?.room;
    let limit = query.limit.unwrap_or_default().count();
    // One more message than the page has, to find out whether there is a next page.
    let range = match direction {
        Direction::After(after) => MessageRange::First { after, limit: limit + 1 },
        Direction::Before(before) => MessageRange::Last { before, limit: limit + 1 },
    };
    let tail = UnarchivedTail::read(&state, &mut room, user.id(), range).await?;
    let headers = if tail.is_complete() { HeaderMap::new() } else { archived_only_header() };
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

/// The response header for a page that may lack newer messages.
fn archived_only_header() -> HeaderMap {
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
    let mut items = with_changes(state, room, rows, &tail).await?;
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
    let mut items = with_changes(state, room, rows, &tail).await?;
    items.extend(tail.into_items());
    Ok(items)
}

/// Builds the views of archived messages, with their reactions and their unarchived changes.
async fn with_changes(
    state: &AppState,
    room: &RoomRow,
    rows: Vec<ArchivedMessage>,
    tail: &UnarchivedTail,
) -> Result<Vec<MessageView>, ApiError> {
    let deleted_authors =
        DeletedAuthors::among(state, rows.iter().map(|row| row.author_id)).await?;
    let items = rows.into_iter().map(|row| MessageView::archived(room, row, &deleted_authors));
    let mut items = items.collect::<Result<Vec<_>, _>>()?;
    reactions::add(state, room, &mut items, tail).await?;
    Ok(items)
}
