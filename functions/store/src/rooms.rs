//! The end of a room. It ends at once, for everybody: its row loses its name. What was in it, which may
//! be millions of messages, the archive removes in steps.

use chrono::Utc;
use protocol::{RoomId, Timestamp, UserId, stored::StoredEvent, subject::Revoked};

use crate::{StoreError, Transaction, db::on_tx};

/// The prefix of the keys of all files of a room.
pub fn object_prefix(room: RoomId) -> String {
    format!("{room}/")
}

/// Ends a room. Returns whether it had not ended before.
pub async fn end(tx: &mut Transaction, room: RoomId, by: UserId) -> Result<bool, StoreError> {
    // No room's name can hold an asterisk, so the name is free again and nobody can ask for this one.
    let ended = on_tx!(tx, e => sqlx::query(
        "UPDATE room SET deleted_at = $2, name = $3, title = NULL, parts = '', password_hash = NULL
         WHERE id = $1 AND deleted_at IS NULL"
    ).bind(room.as_uuid()).bind(Utc::now()).bind(format!("*{room}")).execute(e))?;
    if ended == 0 {
        return Ok(false);
    }
    on_tx!(tx, e => sqlx::query(
        "INSERT INTO doomed_object (object_key, doomed_at) VALUES ($1, $2)
         ON CONFLICT (object_key) DO NOTHING"
    ).bind(object_prefix(room)).bind(Utc::now()).execute(e))?;
    // The revocation first: a removed member must not join again.
    tx.revoke(Revoked::Room(room)).await?;
    tx.emit(room, &StoredEvent::RoomDeleted { by, at: Timestamp::now() }).await?;
    Ok(true)
}
