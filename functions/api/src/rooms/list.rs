//! `GET /room`: the rooms that the caller may see, by name. `unread` and `lastMessage` come from the
//! database: they are behind by what `archive` has yet to move.

use axum::{Json, extract::State as Shared};
use chrono::{DateTime, Utc};
use protocol::{MessageId, RoomName, Seq, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use store::{db::on_db, fold};
use uuid::Uuid;

use super::{
    past::Gone,
    room::{Room, RoomRow, select_room},
};
use crate::{
    docs::refusals::refusals,
    error::ApiError,
    extract::{AuthUser, Params},
    paging::{self, Cursor, Limit, Page, Part},
    state::State,
};

/// The part of a name or title that is looked for.
type Sought = Part<0, 100>;

/// Which rooms.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// A part of name or title.
    #[param(inline)]
    query: Option<Sought>,
    /// Only rooms that the caller is a member of.
    mine: Option<bool>,
    cursor: Option<Cursor>,
    limit: Option<Limit>,
}

/// A room in the list.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    #[serde(flatten)]
    room: Room,
    /// Messages of others that the caller has not read, up to 100; null where they are no member.
    unread: Option<i64>,
    /// The newest message; null in a room without one and where the caller is no member.
    last_message: Option<LastMessage>,
}

/// The newest message of a room.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastMessage {
    #[schema(value_type = u64)]
    seq: Seq,
    id: MessageId,
    from: Author,
    /// Empty if it was deleted, and may be if it is a file.
    msg: String,
    at: Timestamp,
    /// When it was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_at: Option<Timestamp>,
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
    last_deleted_at: Option<DateTime<Utc>>,
}

impl ListedRow {
    fn last_message(&self, gone: &Gone) -> Option<LastMessage> {
        let author = self.author_id?;
        let name = gone.name(author, self.author_name.as_deref()?).ok()?.as_str().to_owned();
        Some(LastMessage {
            seq: self.last_seq?.try_into().ok()?,
            id: self.last_id?.into(),
            from: Author { id: author.into(), name },
            msg: self.msg.clone()?,
            at: self.at?.into(),
            deleted_at: self.last_deleted_at.map(Timestamp::from),
        })
    }
}

/// The rooms of one page with what the caller has of them. First the page, then the rest: what costs
/// something is looked up for rooms that are shown.
macro_rules! listed {
    ($page:expr) => {
        concat!(
            select_room!(
                ", CASE WHEN m.user_id IS NOT NULL THEN (SELECT COUNT(*) FROM (
                     SELECT 1 FROM message u WHERE u.room_id = r.id AND u.seq > COALESCE(k.seq, 0)
                       AND u.author_id <> $1 AND u.deleted_at IS NULL
                       ORDER BY u.seq LIMIT 100
                   ) newer) END AS unread,
                   x.seq AS last_seq, x.id AS last_id, x.author_id, x.author_name, x.msg, x.at,
                   x.deleted_at AS last_deleted_at
                 FROM ("
            ),
            $page,
            ") r LEFT JOIN room_log l ON l.room_id = r.id
             LEFT JOIN active_member m ON m.room_id = r.id AND m.user_id = $1
             LEFT JOIN read_mark k ON k.room_id = r.id AND k.user_id = $1
             LEFT JOIN message x ON x.room_id = m.room_id
               AND x.seq = (SELECT MAX(n.seq) FROM message n WHERE n.room_id = m.room_id)
             ORDER BY r.name"
        )
    };
}

macro_rules! mine {
    ($filter:literal) => {
        concat!(
            "SELECT r.* FROM active_member o JOIN room r ON r.id = o.room_id
             WHERE o.user_id = $1 AND r.deleted_at IS NULL AND r.name > $2",
            $filter,
            " ORDER BY r.name LIMIT $3"
        )
    };
}

/// Public rooms and one's own private ones, each found by an index of their own.
macro_rules! visible {
    ($filter:literal) => {
        concat!(
            "SELECT * FROM (SELECT r.* FROM room r
               WHERE NOT r.private AND r.deleted_at IS NULL AND r.name > $2",
            $filter,
            " ORDER BY r.name LIMIT $3) public UNION ALL SELECT * FROM (
              SELECT r.* FROM active_member o JOIN room r ON r.id = o.room_id
              WHERE o.user_id = $1 AND r.private AND r.deleted_at IS NULL AND r.name > $2",
            $filter,
            " ORDER BY r.name LIMIT $3) own ORDER BY name LIMIT $3"
        )
    };
}

refusals!(NotListed: TooManySearches);

/// List rooms
#[utoipa::path(get, path = "/room", operation_id = "list_rooms", tag = "rooms",
    params(Filter), security(("access" = [])),
    responses((status = 200, body = Page<Listed>), NotListed))]
pub async fn list(
    Shared(state): Shared<State>,
    user: AuthUser,
    Params(Filter { query, mine, cursor, limit }): Params<Filter>,
) -> Result<Json<Page<Listed>>, ApiError> {
    let limit = limit.unwrap_or_default();
    let after: Option<RoomName> = cursor.as_deref().map(paging::decode).transpose()?;
    let after = after.as_ref().map_or("", RoomName::as_str);
    let query = query.filter(|query| !query.is_empty());
    let (mine, me) = (mine.unwrap_or(false), user.id().as_uuid());
    let rows: Vec<ListedRow> = match query {
        None => {
            let statement = if mine { listed!(mine!("")) } else { listed!(visible!("")) };
            on_db!(&state.database, e => sqlx::query_as(statement)
                .bind(me).bind(after).bind(limit.and_one()).fetch_all(e))?
        }
        Some(query) => {
            let statement = if mine {
                listed!(mine!(" AND r.parts LIKE $4 ESCAPE '\\'"))
            } else {
                listed!(visible!(" AND r.parts LIKE $4 ESCAPE '\\'"))
            };
            let search = state.searches.begin(user.id()).await?;
            // Planned anew for every text: whether the index of parts helps depends on the part.
            let rows = on_db!(&state.database, e => sqlx::query_as(statement)
                .bind(me).bind(after).bind(limit.and_one()).bind(fold::containing(&query))
                .persistent(false).fetch_all(e))?;
            search.done();
            rows
        }
    };
    let (rows, next) = paging::cut(rows, limit, |row| row.room.name.clone());
    let gone = Gone::among(&state, rows.iter().filter_map(|row| row.author_id)).await?;
    let items = rows.into_iter().map(|row| Listed {
        last_message: row.last_message(&gone),
        unread: row.unread,
        room: row.room.into(),
    });
    Ok(Json(Page { items: items.collect(), next }))
}
