//! A room as everyone sees it, and as the database holds it.

use chrono::{DateTime, Utc};
use protocol::{RoomId, Seq, Timestamp, UserId};
use serde::Serialize;
use store::db::on_db;
use uuid::Uuid;

use crate::state::State;

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
    /// What a ticket carries: the changes of members and roles that were made before it.
    #[sqlx(try_from = "i64")]
    pub version: u64,
    /// Every event up to this seq is in the database.
    #[sqlx(try_from = "i64")]
    pub archived_seq: Seq,
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

/// How far a room is archived, and how far its events have left the stream.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
pub struct RoomLogRow {
    #[sqlx(try_from = "i64")]
    pub archived_seq: Seq,
    #[sqlx(try_from = "i64")]
    pub kept_seq: Seq,
}

impl RoomLogRow {
    /// None of a room of which nothing is archived.
    pub async fn read(state: &State, room: Uuid) -> sqlx::Result<Option<Self>> {
        on_db!(&state.database, e => sqlx::query_as(
            "SELECT archived_seq, kept_seq FROM room_log WHERE room_id = $1"
        ).bind(room).fetch_optional(e))
    }
}

impl RoomRow {
    pub fn room_id(&self) -> RoomId {
        self.id.into()
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
