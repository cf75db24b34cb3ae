//! A room as everyone sees it, and as the database holds it.

use chrono::{DateTime, Utc};
use protocol::{RoomId, Timestamp, UserId};
use serde::Serialize;
use uuid::Uuid;

/// A room.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Room {
    pub id: RoomId,
    pub name: String,
    pub title: Option<String>,
    /// Only members see it.
    pub private: bool,
    /// Who is not a member needs its password to become one.
    pub password_required: bool,
    pub creator_id: UserId,
    pub created_at: Timestamp,
}

/// A room as the database holds it; see [`select_room`].
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct RoomRow {
    pub id: Uuid,
    pub name: String,
    pub title: Option<String>,
    pub private: bool,
    pub has_password: bool,
    pub creator_id: Uuid,
    pub created_at: DateTime<Utc>,
    pub version: i64,
    pub archived_seq: i64,
}

/// A statement that begins with the columns of a [`RoomRow`], of `room r` and its `room_log l`.
macro_rules! select_room {
    ($rest:literal) => {
        concat!(
            "SELECT r.id, r.name, r.title, r.private, r.password_hash IS NOT NULL AS has_password,
               r.creator_id, r.created_at, r.version, COALESCE(l.archived_seq, 0) AS archived_seq",
            $rest
        )
    };
}
pub(super) use select_room;

impl RoomRow {
    pub fn room_id(&self) -> RoomId {
        self.id.into()
    }

    /// Every event up to this seq is in the database.
    pub fn archived(&self) -> u64 {
        u64::try_from(self.archived_seq).unwrap_or(0)
    }

    /// What a ticket carries: which removals and roles it knows of.
    pub fn version(&self) -> u64 {
        u64::try_from(self.version).unwrap_or(0)
    }
}

impl From<RoomRow> for Room {
    fn from(row: RoomRow) -> Self {
        let RoomRow { id, name, title, private, has_password, creator_id, created_at, .. } = row;
        Self {
            id: id.into(),
            name,
            title,
            private,
            password_required: has_password,
            creator_id: creator_id.into(),
            created_at: created_at.into(),
        }
    }
}
