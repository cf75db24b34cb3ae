//! The end of a room. It ends at once, for everybody: its row loses its name. What was in it, which may
//! be millions of messages, the archive removes in steps.

use chrono::Utc;
use protocol::{
    RoomId, Timestamp, UserId,
    stored::StoredEvent,
    subject::{Revoked, Shards},
};
use service::trace::TraceParent;

use crate::{
    StoreError,
    db::{Tx, on_tx},
    outbox::Owed,
};

/// The prefix of the keys of all files of a room.
pub fn object_prefix(room: RoomId) -> String {
    format!("{room}/")
}

/// Ends a room; none if it has ended.
pub async fn end(
    tx: &mut Tx,
    shards: Shards,
    room: RoomId,
    by: UserId,
    trace: TraceParent,
) -> Result<Option<[Owed; 2]>, StoreError> {
    // No room's name can hold an asterisk, so the name is free again and nobody can ask for this one.
    let ended = on_tx!(tx, e => sqlx::query(
        "UPDATE room SET deleted_at = $2, name = $3, title = NULL, parts = '', password_hash = NULL
         WHERE id = $1 AND deleted_at IS NULL"
    ).bind(room.as_uuid()).bind(Utc::now()).bind(format!("*{room}")).execute(e))?;
    if ended == 0 {
        return Ok(None);
    }
    on_tx!(tx, e => sqlx::query(
        "INSERT INTO doomed_object (object_key, doomed_at) VALUES ($1, $2)
         ON CONFLICT (object_key) DO NOTHING"
    ).bind(object_prefix(room)).bind(Utc::now()).execute(e))?;
    let event = StoredEvent::RoomDeleted { by, at: Timestamp::now() };
    // The revocation first: a removed member must not join again.
    let owed =
        [Owed::revocation(Revoked::Room(room), trace), Owed::event(shards, room, &event, trace)];
    for one in &owed {
        one.record(tx).await?;
    }
    Ok(Some(owed))
}
