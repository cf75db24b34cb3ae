//! The statements of the room list. Each selects the page of rooms first and joins the rest to it, so that unread
//! counts and last messages are looked up only for rooms of the page.

use chrono::{DateTime, Utc};
use protocol::UserId;
use store::{db::on_db, search_text};
use uuid::Uuid;

use super::position::{ActivityPosition, PositionName};
use crate::{error::ApiError, room_row::RoomRow, state::AppState};

const MINE: &str = include_str!("mine.sql");
const MINE_MATCHING: &str = include_str!("mine_matching.sql");
/// Looks up the newest message of every room of the caller, once, because `MATERIALIZED` keeps PostgreSQL from
/// repeating the look-up wherever the time is used.
const MINE_BY_ACTIVITY: &str = include_str!("mine_by_activity.sql");
const MINE_BY_ACTIVITY_MATCHING: &str = include_str!("mine_by_activity_matching.sql");
/// Public rooms and the caller's private rooms. A union of two ordered selects, so that each can use an index.
const VISIBLE: &str = include_str!("visible.sql");
const VISIBLE_MATCHING: &str = include_str!("visible_matching.sql");

/// The rooms of a list.
pub struct RoomFilter<'a> {
    pub user: UserId,
    /// Only the user's rooms. Otherwise all rooms visible to the user.
    pub mine: bool,
    /// A part of the name or title.
    pub query: Option<&'a str>,
}

#[derive(sqlx::FromRow)]
pub struct ListedRow {
    #[sqlx(flatten)]
    pub room: RoomRow,
    pub unread: Option<i64>,
    pub last_seq: Option<i64>,
    pub last_id: Option<Uuid>,
    pub author_id: Option<Uuid>,
    pub author_name: Option<String>,
    pub msg: Option<String>,
    pub at: Option<DateTime<Utc>>,
    /// A [`FileRef`](protocol::stored::FileRef) as JSON.
    pub last_file: Option<String>,
    pub last_deleted_at: Option<DateTime<Utc>>,
}

impl ListedRow {
    /// The time by which [`MINE_BY_ACTIVITY`] sorts.
    pub fn active_at(&self) -> DateTime<Utc> {
        self.at.unwrap_or(self.room.created_at)
    }
}

/// The first rooms after a name.
pub async fn by_name(
    state: &AppState,
    filter: &RoomFilter<'_>,
    after: Option<&PositionName>,
    limit: i64,
) -> Result<Vec<ListedRow>, ApiError> {
    let (me, after) = (filter.user.as_uuid(), after.map_or("", PositionName::as_str));
    let Some(query) = filter.query else {
        let statement = if filter.mine { MINE } else { VISIBLE };
        return Ok(on_db!(&state.store.database, e => sqlx::query_as(statement)
            .bind(me).bind(after).bind(limit).fetch_all(e))?);
    };
    let statement = if filter.mine { MINE_MATCHING } else { VISIBLE_MATCHING };
    let search = state.searches.begin(filter.user).await?;
    // Not a cached statement, so that PostgreSQL plans it for this term: whether the trigram index helps depends on
    // the term.
    let rows = on_db!(&state.store.database, e => sqlx::query_as(statement)
        .bind(me).bind(after).bind(limit).bind(search_text::like_pattern(query))
        .persistent(false).fetch_all(e))?;
    search.done();
    Ok(rows)
}

/// The user's rooms that were active last, after a position.
pub async fn by_activity(
    state: &AppState,
    filter: &RoomFilter<'_>,
    after: Option<&ActivityPosition>,
    limit: i64,
) -> Result<Vec<ListedRow>, ApiError> {
    let me = filter.user.as_uuid();
    let (name, active_at) =
        (after.map(|after| after.name.as_str()), after.map(|after| after.active_at));
    let Some(query) = filter.query else {
        return Ok(on_db!(&state.store.database, e => sqlx::query_as(MINE_BY_ACTIVITY)
            .bind(me).bind(name).bind(limit).bind(active_at).fetch_all(e))?);
    };
    let search = state.searches.begin(filter.user).await?;
    // Not cached, see `by_name`.
    let rows = on_db!(&state.store.database, e => sqlx::query_as(MINE_BY_ACTIVITY_MATCHING)
        .bind(me).bind(name).bind(limit).bind(active_at).bind(search_text::like_pattern(query))
        .persistent(false).fetch_all(e))?;
    search.done();
    Ok(rows)
}
