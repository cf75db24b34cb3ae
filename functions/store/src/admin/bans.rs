//! Bans.

use chrono::{DateTime, Utc};
use protocol::{RoomId, UserId};
use serde::Serialize;

use crate::{
    StoreError,
    db::{Database, on_db},
};

/// A ban of a user from a room.
#[derive(Debug, Serialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct BanEntry {
    pub room: String,
    pub user: String,
    pub banned_by: String,
    pub at: DateTime<Utc>,
}

/// Bans, newest first; of a room or of a user, if given.
pub async fn bans(
    database: &Database,
    room: Option<RoomId>,
    user: Option<UserId>,
    limit: i64,
) -> Result<Vec<BanEntry>, StoreError> {
    Ok(on_db!(database, e => sqlx::query_as(
        "SELECT r.name AS room, a.name AS \"user\", COALESCE(o.name, '') AS banned_by, b.at
         FROM ban b JOIN room r ON r.id = b.room_id JOIN account a ON a.id = b.user_id
         LEFT JOIN account o ON o.id = b.banned_by
         WHERE b.room_id = COALESCE($1, b.room_id) AND b.user_id = COALESCE($2, b.user_id)
           AND r.deleted_at IS NULL
         ORDER BY b.at DESC LIMIT $3"
    )
    .bind(room.map(RoomId::as_uuid))
    .bind(user.map(UserId::as_uuid))
    .bind(limit)
    .fetch_all(e))?)
}
