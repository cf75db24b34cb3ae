//! Removes files: with the last message that shows them, or when their upload was not completed in time.

use chrono::{DateTime, TimeDelta, Utc};
use protocol::{RoomId, Seq};
use service::trace::TraceParent;
use store::{
    db::{Database, Tx, on_tx},
    outbox::OutboxMessage,
};
use uuid::Uuid;

/// When an incomplete upload is removed. Its presigned URLs expire within minutes, and a client that resumes after a
/// crash does so on the same day.
const INCOMPLETE_AFTER: TimeDelta = TimeDelta::hours(24);
/// Uploads removed by one sweep.
const MAX_UPLOADS: i64 = 200;

/// The file that a message shows, if any.
pub async fn file_of_message(tx: &mut Tx, room: RoomId, seq: Seq) -> sqlx::Result<Option<Uuid>> {
    let file: Option<Option<Uuid>> = on_tx!(tx, e => sqlx::query_scalar(
        "SELECT file_id FROM message WHERE room_id = $1 AND seq = $2 AND deleted_at IS NULL"
    ).bind(room.as_uuid()).bind(i64::from(seq)).fetch_optional(e))?;
    Ok(file.flatten())
}

/// Removes a file that no message shows any more: it can neither be downloaded nor attached from now on. The next
/// sweep deletes its object.
pub async fn remove_unless_shown(tx: &mut Tx, room: RoomId, file: Uuid) -> sqlx::Result<()> {
    let key: Option<String> = on_tx!(tx, e => sqlx::query_scalar(
        "DELETE FROM file WHERE id = $1 AND room_id = $2
           AND NOT EXISTS (SELECT 1 FROM message m WHERE m.file_id = $1)
         RETURNING object_key"
    ).bind(file).bind(room.as_uuid()).fetch_optional(e))?;
    let Some(key) = key else { return Ok(()) };
    mark_object(tx, &key).await?;
    // The next sweep publishes it, so that a batch does not wait for NATS.
    OutboxMessage::file_removed(room, file.into(), TraceParent::root()).record(tx).await
}

pub async fn remove_incomplete(database: &Database) -> anyhow::Result<()> {
    let before: DateTime<Utc> = Utc::now() - INCOMPLETE_AFTER;
    let mut tx = database.begin().await?;
    let keys: Vec<String> = on_tx!(&mut tx, e => sqlx::query_scalar(
        "DELETE FROM file WHERE completed_at IS NULL AND id IN (
           SELECT id FROM file WHERE completed_at IS NULL AND created_at < $1
           ORDER BY created_at LIMIT $2)
         RETURNING object_key"
    ).bind(before).bind(MAX_UPLOADS).fetch_all(e))?;
    for key in &keys {
        mark_object(&mut tx, key).await?;
    }
    tx.commit().await?;
    metrics::counter!("chat_archive_uploads_removed_total").increment(keys.len() as u64);
    Ok(())
}

/// Has [`super::object_removal`] delete an object.
async fn mark_object(tx: &mut Tx, key: &str) -> sqlx::Result<()> {
    on_tx!(tx, e => sqlx::query(
        "INSERT INTO doomed_object (object_key, doomed_at) VALUES ($1, $2)
         ON CONFLICT (object_key) DO NOTHING"
    ).bind(key).bind(Utc::now()).execute(e))?;
    Ok(())
}
