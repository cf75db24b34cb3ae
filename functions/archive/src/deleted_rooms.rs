//! Removes the contents of deleted rooms in steps, each a transaction, so that the work resumes after a crash. The
//! room's row is removed last, when every token for the room has expired.

use chrono::{DateTime, TimeDelta, Utc};
use protocol::{RoomId, subject};
use service::stream::ShardStream;
use store::{
    Store,
    db::{Database, on_db, on_tx},
};
use uuid::Uuid;

use super::failures::Failures;

/// Rows removed by one step.
const ROWS: i64 = 2_000;
/// Steps of one sweep, so that a large room does not delay other work.
const MAX_STEPS: usize = 50;
/// Rooms of one sweep. The steps bound its work.
const MAX_ROOMS: i64 = 200;
/// How long the room's last event, `room-deleted`, stays for clients that reconnect.
const LAST_EVENT_KEPT_FOR: TimeDelta = TimeDelta::hours(1);

/// The parameters of each statement are the room and the number of rows.
const STATEMENTS: [&str; 6] = [
    "DELETE FROM message WHERE room_id = $1 AND seq IN (
       SELECT seq FROM message WHERE room_id = $1 ORDER BY seq LIMIT $2)",
    "DELETE FROM reaction WHERE room_id = $1 AND target IN (
       SELECT target FROM reaction WHERE room_id = $1 ORDER BY target LIMIT $2)",
    "DELETE FROM file WHERE id IN (SELECT id FROM file WHERE room_id = $1 LIMIT $2)",
    "DELETE FROM member WHERE room_id = $1 AND user_id IN (
       SELECT user_id FROM member WHERE room_id = $1 LIMIT $2)",
    "DELETE FROM ban WHERE room_id = $1 AND user_id IN (
       SELECT user_id FROM ban WHERE room_id = $1 LIMIT $2)",
    "DELETE FROM read_mark WHERE room_id = $1 AND user_id IN (
       SELECT user_id FROM read_mark WHERE room_id = $1 LIMIT $2)",
];

#[derive(sqlx::FromRow)]
struct DeletedRoom {
    id: Uuid,
    /// When all contents were removed.
    emptied_at: Option<DateTime<Utc>>,
}

pub async fn remove(store: &Store, streams: &[&ShardStream]) -> anyhow::Result<()> {
    let database = &store.database;
    let deleted: Vec<DeletedRoom> = on_db!(database, e => sqlx::query_as(
        "SELECT id, emptied_at FROM room
         WHERE deleted_at IS NOT NULL AND (emptied_at IS NULL OR emptied_at < $1)
         ORDER BY deleted_at LIMIT $2"
    ).bind(Utc::now() - LAST_EVENT_KEPT_FOR).bind(MAX_ROOMS).fetch_all(e))?;
    let (mut steps, mut failures) = (MAX_STEPS, Failures::default());
    for room in deleted {
        let stream = streams.iter().find(|stream| stream.has(RoomId::from(room.id)));
        if let Some(stream) = stream {
            failures.record(empty_and_remove(store, stream, room, &mut steps).await);
        }
    }
    failures.into_result()
}

async fn empty_and_remove(
    store: &Store,
    stream: &ShardStream,
    DeletedRoom { id, emptied_at }: DeletedRoom,
    steps: &mut usize,
) -> anyhow::Result<()> {
    let (room, database) = (RoomId::from(id), &store.database);
    if !empty(database, id, steps).await? || has_unpublished_events(store, room).await? {
        return Ok(());
    }
    match emptied_at {
        None => {
            stream.purge_until_deleted(room).await?;
            execute(database, "UPDATE room SET emptied_at = $2 WHERE id = $1", id, Utc::now())
                .await?;
        }
        Some(_) => {
            stream.purge_all(room).await?;
            execute(database, "DELETE FROM room WHERE id = $1 AND emptied_at < $2", id, Utc::now())
                .await?;
            metrics::counter!("chat_archive_rooms_removed_total").increment(1);
        }
    }
    Ok(())
}

/// Removes rows within the remaining steps. Returns whether none is left.
async fn empty(database: &Database, room: Uuid, steps: &mut usize) -> sqlx::Result<bool> {
    for statement in STATEMENTS {
        loop {
            let Some(left) = steps.checked_sub(1) else { return Ok(false) };
            *steps = left;
            let mut tx = database.begin().await?;
            let removed = on_tx!(&mut tx, e =>
                sqlx::query(statement).bind(room).bind(ROWS).execute(e))?;
            tx.commit().await?;
            if removed == 0 {
                break;
            }
        }
    }
    Ok(true)
}

/// Whether the outbox has events of the room. Its last event must be in the stream before the purge.
async fn has_unpublished_events(store: &Store, room: RoomId) -> sqlx::Result<bool> {
    let subject = subject::stored(store.log.shards(), room);
    let found: Option<i32> = on_db!(&store.database, e => sqlx::query_scalar(
        "SELECT 1 FROM outbox WHERE NOT revokes AND subject = $1 LIMIT 1"
    ).bind(&subject).fetch_optional(e))?;
    Ok(found.is_some())
}

async fn execute(
    database: &Database,
    statement: &'static str,
    room: Uuid,
    at: DateTime<Utc>,
) -> sqlx::Result<()> {
    let mut tx = database.begin().await?;
    on_tx!(&mut tx, e => sqlx::query(statement).bind(room).bind(at).execute(e))?;
    tx.commit().await
}
