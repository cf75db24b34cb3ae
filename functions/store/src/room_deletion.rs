//! Deletes a room. It disappears at once, because its row loses its name. The archive removes the contents, which may
//! be millions of messages, in steps.

use chrono::Utc;
use protocol::{RoomId, Timestamp, UserId, stored::StoredEvent, subject::Revoked};

use crate::{StoreError, Transaction, db::on_tx, storage};

/// Marks a room as deleted and revokes access to it. Returns false if it was deleted before.
pub async fn mark_deleted(
    tx: &mut Transaction,
    room: RoomId,
    by: UserId,
) -> Result<bool, StoreError> {
    // A room name cannot contain an asterisk, so nobody can request this one, and the old name is free again.
    let deleted = on_tx!(tx, e => sqlx::query(
        "UPDATE room SET deleted_at = $2, name = $3, title = NULL, parts = '', password_hash = NULL
         WHERE id = $1 AND deleted_at IS NULL"
    ).bind(room.as_uuid()).bind(Utc::now()).bind(format!("*{room}")).execute(e))?;
    if deleted == 0 {
        return Ok(false);
    }
    on_tx!(tx, e => sqlx::query(
        "INSERT INTO doomed_object (object_key, doomed_at) VALUES ($1, $2)
         ON CONFLICT (object_key) DO NOTHING"
    ).bind(storage::room_prefix(room)).bind(Utc::now()).execute(e))?;
    // The revocation first, so that nobody joins after the event.
    tx.revoke(Revoked::Room(room)).await?;
    tx.emit(room, &StoredEvent::RoomDeleted { by, at: Timestamp::now() }).await?;
    Ok(true)
}
