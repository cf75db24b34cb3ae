//! Rooms.

use chrono::{DateTime, Utc};
use protocol::{RoomId, RoomName, UserId};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    StoreError,
    db::{Database, on_db},
};

/// A room in a list.
#[derive(Debug, Serialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct RoomEntry {
    pub id: Uuid,
    pub name: String,
    pub title: Option<String>,
    pub private: bool,
    pub has_password: bool,
    pub creator: String,
    pub created_at: DateTime<Utc>,
    pub members: i64,
    /// Every event up to this seq is in the database.
    pub archived_seq: i64,
}

/// An owner or moderator of a room.
#[derive(Debug, Serialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct RoomMemberEntry {
    pub id: Uuid,
    pub name: String,
    pub role: String,
    pub joined_at: DateTime<Utc>,
}

/// A room with its owners and moderators.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RoomDetails {
    #[serde(flatten)]
    pub room: RoomEntry,
    pub bans: i64,
    pub files: i64,
    pub file_bytes: i64,
    pub staff: Vec<RoomMemberEntry>,
}

/// A room that a name or an id stands for.
#[derive(Debug)]
pub struct FoundRoom {
    pub id: RoomId,
    pub name: String,
    /// An action of the operator is attributed to the creator, because events name a user.
    pub creator: UserId,
}

/// Finds a room that is not deleted by its name, in any case, or its id.
pub async fn find_room(database: &Database, text: &str) -> Result<Option<FoundRoom>, StoreError> {
    let key = RoomName::parse(text).ok().map(|name| name.key());
    let found: Option<(Uuid, String, Uuid)> = on_db!(database, e => sqlx::query_as(
        "SELECT id, name, creator_id FROM room
         WHERE (folded_name = $1 OR id = $2) AND deleted_at IS NULL"
    ).bind(key).bind(text.parse::<Uuid>().ok()).fetch_optional(e))?;
    Ok(found.map(|(id, name, creator)| FoundRoom { id: id.into(), name, creator: creator.into() }))
}

/// Rooms in the order of their names, after a name.
pub async fn rooms(
    database: &Database,
    prefix: &str,
    after: &str,
    limit: i64,
) -> Result<Vec<RoomEntry>, StoreError> {
    Ok(on_db!(database, e => sqlx::query_as(
        "SELECT r.id, r.name, r.title, r.private, r.password_hash IS NOT NULL AS has_password,
           a.name AS creator, r.created_at, r.members, COALESCE(l.archived_seq, 0) AS archived_seq
         FROM room r JOIN account a ON a.id = r.creator_id LEFT JOIN room_log l ON l.room_id = r.id
         WHERE r.deleted_at IS NULL AND r.name > $1 AND substr(r.name, 1, length($2)) = $2
         ORDER BY r.name LIMIT $3"
    ).bind(after).bind(prefix).bind(limit).fetch_all(e))?)
}

/// A room with its owners and moderators.
pub async fn room_details(
    database: &Database,
    room: RoomId,
) -> Result<Option<RoomDetails>, StoreError> {
    let entry: Option<RoomEntry> = on_db!(database, e => sqlx::query_as(
        "SELECT r.id, r.name, r.title, r.private, r.password_hash IS NOT NULL AS has_password,
           a.name AS creator, r.created_at, r.members, COALESCE(l.archived_seq, 0) AS archived_seq
         FROM room r JOIN account a ON a.id = r.creator_id LEFT JOIN room_log l ON l.room_id = r.id
         WHERE r.id = $1 AND r.deleted_at IS NULL"
    ).bind(room.as_uuid()).fetch_optional(e))?;
    let Some(entry) = entry else { return Ok(None) };
    let (bans, files, file_bytes): (i64, i64, i64) = on_db!(database, e => sqlx::query_as(
        "SELECT (SELECT COUNT(*) FROM ban WHERE room_id = $1), COUNT(*),
           CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM file WHERE room_id = $1"
    ).bind(room.as_uuid()).fetch_one(e))?;
    let staff = on_db!(database, e => sqlx::query_as(
        "SELECT a.id, a.name, m.role, m.joined_at FROM active_member m JOIN account a ON a.id = m.user_id
         WHERE m.room_id = $1 AND m.role <> 'member' ORDER BY m.role DESC, a.name"
    ).bind(room.as_uuid()).fetch_all(e))?;
    Ok(Some(RoomDetails { room: entry, bans, files, file_bytes, staff }))
}
