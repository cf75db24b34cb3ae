//! Files that go: with the last message that shows them, and uploads that were never completed.

use chrono::{DateTime, TimeDelta, Utc};
use protocol::{RoomId, Seq};
use service::trace::TraceParent;
use store::{
    db::{Database, Tx, on_tx},
    outbox::OutboxMessage,
};
use uuid::Uuid;

/// An upload that is not complete after so long never will be: its links live for minutes, and a client
/// that goes on after a crash does so on the same day.
const INCOMPLETE_FOR: TimeDelta = TimeDelta::hours(24);
/// Uploads of one sweep.
const AT_ONCE: i64 = 200;

/// The file that a message shows.
pub async fn of_message(tx: &mut Tx, room: RoomId, seq: Seq) -> sqlx::Result<Option<Uuid>> {
    let file: Option<Option<Uuid>> = on_tx!(tx, e => sqlx::query_scalar(
        "SELECT file_id FROM message WHERE room_id = $1 AND seq = $2 AND deleted_at IS NULL"
    ).bind(room.as_uuid()).bind(i64::from(seq)).fetch_optional(e))?;
    Ok(file.flatten())
}

/// Removes a file that no message shows any more: nobody gets a link to it from now on, no message can
/// name it, and its object goes with the next sweep.
pub async fn remove_unless_shown(tx: &mut Tx, room: RoomId, file: Uuid) -> sqlx::Result<()> {
    let key: Option<String> = on_tx!(tx, e => sqlx::query_scalar(
        "DELETE FROM file WHERE id = $1 AND room_id = $2
           AND NOT EXISTS (SELECT 1 FROM message m WHERE m.file_id = $1)
         RETURNING object_key"
    ).bind(file).bind(room.as_uuid()).fetch_optional(e))?;
    let Some(key) = key else { return Ok(()) };
    doom(tx, &key).await?;
    // Published by the next sweep: a batch does not wait for NATS.
    OutboxMessage::file_removed(room, file.into(), TraceParent::root()).record(tx).await
}

/// Removes uploads that were not completed in time.
pub async fn remove_incomplete(database: &Database) -> anyhow::Result<()> {
    let before: DateTime<Utc> = Utc::now() - INCOMPLETE_FOR;
    let mut tx = database.begin().await?;
    let keys: Vec<String> = on_tx!(&mut tx, e => sqlx::query_scalar(
        "DELETE FROM file WHERE completed_at IS NULL AND id IN (
           SELECT id FROM file WHERE completed_at IS NULL AND created_at < $1
           ORDER BY created_at LIMIT $2)
         RETURNING object_key"
    ).bind(before).bind(AT_ONCE).fetch_all(e))?;
    for key in &keys {
        doom(&mut tx, key).await?;
    }
    tx.commit().await?;
    metrics::counter!("archive_uploads_removed_total").increment(keys.len() as u64);
    Ok(())
}

async fn doom(tx: &mut Tx, key: &str) -> sqlx::Result<()> {
    on_tx!(tx, e => sqlx::query(
        "INSERT INTO doomed_object (object_key, doomed_at) VALUES ($1, $2)
         ON CONFLICT (object_key) DO NOTHING"
    ).bind(key).bind(Utc::now()).execute(e))?;
    Ok(())
}
