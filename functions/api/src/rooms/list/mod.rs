//! `GET /room`: the rooms visible to the caller. `unread`, `lastMessage` and the order by activity are read from the
//! database only, so they do not include messages that are not archived yet.

mod position;
mod rows;

use axum::{Json, extract::State};
use protocol::{
    MessageId, Seq, Timestamp,
    stored::{FileRef, Person},
};
use serde::{Deserialize, Serialize};
use store::db;

use self::{
    position::{ActivityPosition, PositionName},
    rows::{ListedRow, RoomFilter},
};
use super::view::Room;
use crate::{
    docs::refusals::refusals,
    error::ApiError,
    extract::{AuthUser, Params},
    messages::{self, DeletedAuthors},
    pagination::{self, Cursor, Limit, Page, PageItem, SearchTerm},
    state::AppState,
};

/// Text to search for in names and titles. Empty means no filter.
type RoomSearchTerm = SearchTerm<0, 100>;

/// Query parameters of GET /room.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// A part of a room's name or title.
    #[param(inline)]
    query: Option<RoomSearchTerm>,
    /// Only rooms that the caller is a member of.
    mine: Option<bool>,
    /// Default: `activity` with `mine=true`, otherwise `name`. `activity` requires `mine=true`.
    #[param(inline)]
    sort: Option<RoomSort>,
    cursor: Option<Cursor>,
    limit: Option<Limit>,
}

/// The order of a list of rooms: the newest message first, where a room without messages counts as active when it was
/// created; or by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RoomSort {
    Activity,
    Name,
}

/// A room with the caller's unread count and its newest message.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListedRoom {
    #[serde(flatten)]
    room: Room,
    /// Number of unread messages of others, at most 100; null if the caller is not a member.
    unread: Option<i64>,
    /// The newest message; null if there is none or the caller is not a member.
    last_message: Option<LastMessage>,
}

type RoomPage = Page<ListedRoom>;

impl PageItem for ListedRoom {
    const PAGE: &'static str = "RoomPage";
}

/// The newest message of a room.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastMessage {
    #[schema(value_type = u64)]
    seq: Seq,
    id: MessageId,
    from: Person,
    /// Empty for a deleted message; may be empty for a message with a file.
    msg: String,
    at: Timestamp,
    /// The message's file, unless it was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<FileRef>,
    /// Set if the message was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_at: Option<Timestamp>,
}

refusals!(ListRoomsRefusals: TooManySearches);

/// List rooms
#[utoipa::path(get, path = "/room", operation_id = "list_rooms", tag = "rooms",
    params(ListQuery), security(("access" = [])),
    responses((status = 200, body = RoomPage), ListRoomsRefusals))]
pub async fn list(
    State(state): State<AppState>,
    user: AuthUser,
    Params(ListQuery { query, mine, sort, cursor, limit }): Params<ListQuery>,
) -> Result<Json<RoomPage>, ApiError> {
    let (mine, limit) = (mine.unwrap_or(false), limit.unwrap_or_default());
    let sort = sort.unwrap_or(if mine { RoomSort::Activity } else { RoomSort::Name });
    if sort == RoomSort::Activity && !mine {
        let detail = "only a list with mine=true can be sorted by activity".to_owned();
        return Err(ApiError::Invalid { field: "sort", detail });
    }
    let query = query.filter(|query| !query.is_empty());
    let filter = RoomFilter { user: user.id(), mine, query: query.as_deref() };
    let cursor = cursor.as_deref();
    let (rows, next) = match sort {
        RoomSort::Name => {
            let after: Option<PositionName> = cursor.map(pagination::decode).transpose()?;
            let rows = rows::by_name(&state, &filter, after.as_ref(), limit.and_one()).await?;
            pagination::page_of(rows, limit, |row| row.room.name.clone())
        }
        RoomSort::Activity => {
            let after: Option<ActivityPosition> = cursor.map(pagination::decode).transpose()?;
            let rows = rows::by_activity(&state, &filter, after.as_ref(), limit.and_one()).await?;
            pagination::page_of(rows, limit, |row| (row.active_at(), row.room.name.clone()))
        }
    };
    let authors = rows.iter().filter_map(|row| row.author_id);
    let deleted_authors = DeletedAuthors::among(&state, authors).await?;
    let items = rows.into_iter().map(|row| {
        let last_message = last_message(&row, &deleted_authors)?;
        Ok(ListedRoom { last_message, unread: row.unread, room: row.room.into() })
    });
    let items = items.collect::<Result<_, ApiError>>()?;
    Ok(Json(Page { items, next }))
}

fn last_message(
    row: &ListedRow,
    deleted_authors: &DeletedAuthors,
) -> Result<Option<LastMessage>, ApiError> {
    let seq = db::optional_seq(row.last_seq)?;
    let author = row.author_id.zip(row.author_name.as_deref());
    let (Some(seq), Some(id), Some((author, name)), Some(msg), Some(at)) =
        (seq, row.last_id, author, row.msg.clone(), row.at)
    else {
        return Ok(None);
    };
    Ok(Some(LastMessage {
        seq,
        id: id.into(),
        from: Person { id: author.into(), name: deleted_authors.display_name(author, name) },
        msg,
        at: at.into(),
        file: messages::parse_file(row.last_file.as_deref())?,
        deleted_at: row.last_deleted_at.map(Timestamp::from),
    }))
}
