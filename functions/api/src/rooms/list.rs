//! `GET /room`: the rooms that the caller may see, by name. `unread` and `lastMessage` come from the
//! database: they are behind by what `archive` has yet to move.

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use protocol::{MessageId, RoomName, Seq, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use store::{db::on_db, fold};
use uuid::Uuid;

use super::view::Room;
use crate::{
    docs::refusals::refusals,
    error::ApiError,
    extract::{AuthUser, Params},
    messages::DeletedAuthors,
    pagination::{self, Cursor, Limit, Page, SearchTerm},
    room_row::RoomRow,
    state::AppState,
};

/// The part of a name or title that is looked for.
type Sought = SearchTerm<0, 100>;

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
    fn last_message(&self, gone: &DeletedAuthors) -> Option<LastMessage> {
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

/// One page of rooms with what the caller has in each. Each statement selects the page first and joins
/// the rest to it, so that counts and last messages are looked up only for rooms that are shown.
///
/// `VISIBLE` selects public rooms and the caller's own private ones by two indexes.
const MINE: &str = include_str!("list/mine.sql");
const MINE_MATCHING: &str = include_str!("list/mine_matching.sql");
const VISIBLE: &str = include_str!("list/visible.sql");
const VISIBLE_MATCHING: &str = include_str!("list/visible_matching.sql");

refusals!(NotListed: TooManySearches);

/// List rooms
#[utoipa::path(get, path = "/room", operation_id = "list_rooms", tag = "rooms",
    params(Filter), security(("access" = [])),
    responses((status = 200, body = Page<Listed>), NotListed))]
pub async fn list(
    State(state): State<AppState>,
    user: AuthUser,
    Params(Filter { query, mine, cursor, limit }): Params<Filter>,
) -> Result<Json<Page<Listed>>, ApiError> {
    let limit = limit.unwrap_or_default();
    let after: Option<RoomName> = cursor.as_deref().map(pagination::decode).transpose()?;
    let after = after.as_ref().map_or("", RoomName::as_str);
    let query = query.filter(|query| !query.is_empty());
    let (mine, me) = (mine.unwrap_or(false), user.id().as_uuid());
    let rows: Vec<ListedRow> = match query {
        None => {
            let statement = if mine { MINE } else { VISIBLE };
            on_db!(&state.store.database, e => sqlx::query_as(statement)
                .bind(me).bind(after).bind(limit.and_one()).fetch_all(e))?
        }
        Some(query) => {
            let statement = if mine { MINE_MATCHING } else { VISIBLE_MATCHING };
            let search = state.searches.begin(user.id()).await?;
            // Not prepared: whether the trigram index helps depends on the text.
            let rows = on_db!(&state.store.database, e => sqlx::query_as(statement)
                .bind(me).bind(after).bind(limit.and_one()).bind(fold::containing(&query))
                .persistent(false).fetch_all(e))?;
            search.done();
            rows
        }
    };
    let (rows, next) = pagination::page_of(rows, limit, |row| row.room.name.clone());
    let gone = DeletedAuthors::among(&state, rows.iter().filter_map(|row| row.author_id)).await?;
    let items = rows.into_iter().map(|row| Listed {
        last_message: row.last_message(&gone),
        unread: row.unread,
        room: row.room.into(),
    });
    Ok(Json(Page { items: items.collect(), next }))
}
