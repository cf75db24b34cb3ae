//! A room as the database holds it.

use chrono::{DateTime, Utc};
use protocol::{RoomId, Seq};
use store::db::{Tx, on_db, on_tx};
use uuid::Uuid;

use crate::{error::ApiError, state::AppState};

/// A row of `room r` with its `room_log l`.
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
    pub async fn read(state: &AppState, room: Uuid) -> sqlx::Result<Option<Self>> {
        on_db!(&state.store.database, e => sqlx::query_as(
            "SELECT archived_seq, kept_seq FROM room_log WHERE room_id = $1"
        ).bind(room).fetch_optional(e))
    }
}

impl RoomRow {
    /// A room under the lock of its row ([`store::members::lock`]).
    pub async fn locked(tx: &mut Tx, room: RoomId) -> Result<Self, ApiError> {
        let row: Option<Self> = on_tx!(tx, e => sqlx::query_as(
        "SELECT r.id, r.name, r.title, r.private, r.password_hash IS NOT NULL AS has_password,
           r.creator_id, r.created_at, r.version, COALESCE(l.archived_seq, 0) AS archived_seq
         FROM room r LEFT JOIN room_log l ON l.room_id = r.id WHERE r.id = $1"
    ).bind(room.as_uuid()).fetch_optional(e))?;
        row.ok_or(ApiError::NoSuchRoom)
    }

    pub fn room_id(&self) -> RoomId {
        self.id.into()
    }
}
