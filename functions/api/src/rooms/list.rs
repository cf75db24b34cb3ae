//! `GET /room`: the rooms visible to the caller, ordered by name. `unread` and `lastMessage` are read from the database
//! only, so they do not include messages that are not archived yet.

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use protocol::{MessageId, RoomName, Seq, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use store::{
    db::{self, on_db},
    search_text,
};
use uuid::Uuid;

use super::view::Room;
use crate::{
    docs::refusals::refusals,
    error::ApiError,
    extract::{AuthUser, Params},
    messages::DeletedAuthors,
    pagination::{self, Cursor, Limit, Page, PageItem, SearchTerm},
    room_row::RoomRow,
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
    cursor: Option<Cursor>,
    limit: Option<Limit>,
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
    from: Author,
    /// Empty for a deleted message; may be empty for a message with a file.
    msg: String,
    at: Timestamp,
    /// Set if the message was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_at: Option<Timestamp>,
}

/// The author of a message, with the display name when it was sent.
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
    fn last_message(
        &self,
        deleted_authors: &DeletedAuthors,
    ) -> Result<Option<LastMessage>, ApiError> {
        let seq = db::optional_seq(self.last_seq)?;
        let author = self.author_id.zip(self.author_name.as_deref());
        let (Some(seq), Some(id), Some((author, name)), Some(msg), Some(at)) =
            (seq, self.last_id, author, self.msg.clone(), self.at)
        else {
            return Ok(None);
        };
        let name = deleted_authors.display_name(author, name).as_str().to_owned();
        Ok(Some(LastMessage {
            seq,
            id: id.into(),
            from: Author { id: author.into(), name },
            msg,
            at: at.into(),
            deleted_at: self.last_deleted_at.map(Timestamp::from),
        }))
    }
}

/// The caller's rooms. Like the three statements below, it selects the page of rooms first and joins the rest to it,
/// so that unread counts and last messages are looked up only for rooms of the page.
const MINE: &str = include_str!("list/mine.sql");
/// [`MINE`] with a search term.
const MINE_MATCHING: &str = include_str!("list/mine_matching.sql");
/// Public rooms and the caller's private rooms. A union of two ordered selects, so that each can use an index.
const VISIBLE: &str = include_str!("list/visible.sql");
/// [`VISIBLE`] with a search term.
const VISIBLE_MATCHING: &str = include_str!("list/visible_matching.sql");

refusals!(ListRoomsRefusals: TooManySearches);

/// List rooms
#[utoipa::path(get, path = "/room", operation_id = "list_rooms", tag = "rooms",
    params(ListQuery), security(("access" = [])),
    responses((status = 200, body = RoomPage), ListRoomsRefusals))]
pub async fn list(
    State(state): State<AppState>,
    user: AuthUser,
    Params(ListQuery { query, mine, cursor, limit }): Params<ListQuery>,
) -> Result<Json<RoomPage>, ApiError> {
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
            // Not a cached statement, so that PostgreSQL plans it for this term: whether the trigram index helps
            // depends on the term.
            let rows = on_db!(&state.store.database, e => sqlx::query_as(statement)
                .bind(me).bind(after).bind(limit.and_one()).bind(search_text::like_pattern(&query))
                .persistent(false).fetch_all(e))?;
            search.done();
            rows
        }
    };
    let (rows, next) = pagination::page_of(rows, limit, |row| row.room.name.clone());
    let authors = rows.iter().filter_map(|row| row.author_id);
    let deleted_authors = DeletedAuthors::among(&state, authors).await?;
    let items = rows.into_iter().map(|row| {
        let last_message = row.last_message(&deleted_authors)?;
        Ok(ListedRoom { last_message, unread: row.unread, room: row.room.into() })
    });
    let items = items.collect::<Result<_, ApiError>>()?;
    Ok(Json(Page { items, next }))
}
