//! `GET /room`: the rooms that the caller may see, by name. `unread` and `lastMessage` come from the
//! database: they are behind by what `archive` has yet to move.

use axum::{Json, extract::State as Shared};
use chrono::{DateTime, Utc};
use protocol::{MessageId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::room::{Room, RoomRow};
use crate::{
    db::on_db,
    error::{ApiError, Problem},
    extract::{AuthUser, Params},
    paging::{self, Limit, Page},
    state::State,
};

/// Which rooms.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// A part of name or title.
    query: Option<String>,
    /// Only rooms that the caller is a member of.
    mine: Option<bool>,
    cursor: Option<String>,
    limit: Option<Limit>,
}

/// A room in the list.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    #[serde(flatten)]
    room: Room,
    /// Messages of others since the caller last wrote, up to 100; null where they are no member.
    unread: Option<i64>,
    /// The newest message; null in a room without one and where the caller is no member.
    last_message: Option<LastMessage>,
}

/// The newest message of a room.
#[derive(Serialize, utoipa::ToSchema)]
pub struct LastMessage {
    seq: u64,
    id: MessageId,
    from: Author,
    msg: String,
    at: Timestamp,
}

/// Who wrote it, as they were called then.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Author {
    id: UserId,
    name: String,
}

#[derive(sqlx::FromRow)]
struct ListedRow {
    #[sqlx(flatten)]
    room: RoomRow,
    unread: Option<i64>,
    last_seq: Option<i64>,
    last_id: Option<Uuid>,
    author_id: Option<Uuid>,
    author_name: Option<String>,
    msg: Option<String>,
    at: Option<DateTime<Utc>>,
}

impl ListedRow {
    fn last_message(&self) -> Option<LastMessage> {
        Some(LastMessage {
            seq: self.last_seq?.try_into().ok()?,
            id: self.last_id?.into(),
            from: Author { id: self.author_id?.into(), name: self.author_name.clone()? },
            msg: self.msg.clone()?,
            at: self.at?.into(),
        })
    }
}

impl From<ListedRow> for Listed {
    fn from(row: ListedRow) -> Self {
        Self { last_message: row.last_message(), unread: row.unread, room: row.room.into() }
    }
}

/// The longest part that is looked for.
const QUERY_CHARS: usize = 100;

/// `%`, `_` and `\` stand for themselves.
fn like(part: &str) -> String {
    let mut pattern = String::from("%");
    for c in part.to_lowercase().chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

/// List rooms
#[utoipa::path(get, path = "/room", tag = "rooms", params(Filter), security(("access" = [])),
    responses((status = 200, body = Page<Listed>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub async fn list(
    Shared(state): Shared<State>,
    user: AuthUser,
    Params(Filter { query, mine, cursor, limit }): Params<Filter>,
) -> Result<Json<Page<Listed>>, ApiError> {
    let limit = limit.unwrap_or_default().count();
    let query = query.unwrap_or_default();
    if query.chars().count() > QUERY_CHARS {
        let detail = format!("has more than {QUERY_CHARS} characters");
        return Err(ApiError::Invalid { field: "query", detail });
    }
    let after: String = cursor.as_deref().map(paging::decode).transpose()?.unwrap_or_default();
    let mut rows: Vec<ListedRow> = on_db!(&state.database, e => sqlx::query_as(
        r"SELECT r.id, r.name, r.title, r.private, r.creator_id, r.created_at, r.archived_seq,
            CASE WHEN m.user_id IS NOT NULL THEN (SELECT COUNT(*) FROM (
              SELECT 1 FROM message u
              WHERE u.room_id = r.id AND u.seq > m.read_seq AND u.author_id <> $1 LIMIT 100
            ) newer) END AS unread,
            l.seq AS last_seq, l.id AS last_id, l.author_id, l.author_name, l.msg, l.at
          FROM room r
          LEFT JOIN member m ON m.room_id = r.id AND m.user_id = $1
          LEFT JOIN message l ON l.room_id = m.room_id
            AND l.seq = (SELECT MAX(n.seq) FROM message n WHERE n.room_id = m.room_id)
          WHERE r.name > $2
            AND (m.user_id IS NOT NULL OR (NOT r.private AND NOT $3))
            AND (LOWER(r.name) LIKE $4 ESCAPE '\' OR LOWER(COALESCE(r.title, '')) LIKE $4 ESCAPE '\')
          ORDER BY r.name LIMIT $5"
    )
    .bind(user.id().as_uuid())
    .bind(after)
    .bind(mine.unwrap_or(false))
    .bind(like(&query))
    // One more tells whether there is a next page.
    .bind(limit as i64 + 1)
    .fetch_all(e))?;
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| has_more).map(|row| paging::encode(&row.room.name));
    Ok(Json(Page { items: rows.into_iter().map(Listed::from).collect(), next }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_for_themselves() {
        assert_eq!(like("50%_A\\"), r"%50\%\_a\\%");
    }
}
