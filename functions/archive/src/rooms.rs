//! What was in a deleted room goes in steps, each a transaction of its own: a crash between two of them
//! is gone on from. The row goes last, when no token for the room can live any more.

use chrono::{DateTime, TimeDelta, Utc};
use protocol::{RoomId, subject};
use service::stream::ShardStream;
use store::{
    Store,
    db::{Database, on_db, on_tx},
};
use uuid::Uuid;

use super::failures::Failures;

/// Rows of one step.
const ROWS: i64 = 2_000;
/// Steps of one sweep, so that other work gets its turn.
const STEPS: usize = 50;
/// Rooms looked at by one sweep; what bounds its work are the steps.
const ROOMS: i64 = 200;
/// Who comes back within this time is told by the room's last event that it is gone.
const TOLD_FOR: TimeDelta = TimeDelta::hours(1);

/// What goes, by statements of one shape: the room, and how many rows.
const STEPS_OF_A_ROOM: [&str; 6] = [
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
struct Ended {
    id: Uuid,
    emptied_at: Option<DateTime<Utc>>,
}

/// Removes the contents of deleted rooms, and then their rows.
pub async fn remove(store: &Store, streams: &[&ShardStream]) -> anyhow::Result<()> {
    let database = &store.database;
    let ended: Vec<Ended> = on_db!(database, e => sqlx::query_as(
        "SELECT id, emptied_at FROM room
         WHERE deleted_at IS NOT NULL AND (emptied_at IS NULL OR emptied_at < $1)
         ORDER BY deleted_at LIMIT $2"
    ).bind(Utc::now() - TOLD_FOR).bind(ROOMS).fetch_all(e))?;
    let (mut steps, mut failures) = (STEPS, Failures::default());
    for room in ended {
        let stream = streams.iter().find(|stream| stream.has(RoomId::from(room.id)));
        if let Some(stream) = stream {
            failures.note(empty_and_remove(store, stream, room, &mut steps).await);
        }
    }
    failures.into_result()
}

async fn empty_and_remove(
    store: &Store,
    stream: &ShardStream,
    Ended { id, emptied_at }: Ended,
    steps: &mut usize,
) -> anyhow::Result<()> {
    let (room, database) = (RoomId::from(id), &store.database);
    if !empty(database, id, steps).await? || has_unpublished_events(store, room).await? {
        return Ok(());
    }
    match emptied_at {
        None => {
            stream.purge_until_deleted(room).await?;
            run(database, "UPDATE room SET emptied_at = $2 WHERE id = $1", id, Utc::now()).await?;
        }
        Some(_) => {
            stream.purge_all(room).await?;
            run(database, "DELETE FROM room WHERE id = $1 AND emptied_at < $2", id, Utc::now())
                .await?;
            metrics::counter!("archive_rooms_removed_total").increment(1);
        }
    }
    Ok(())
}

/// Removes rows in at most so many steps. Returns whether none is left.
async fn empty(database: &Database, room: Uuid, steps: &mut usize) -> sqlx::Result<bool> {
    for statement in STEPS_OF_A_ROOM {
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

/// Whether the outbox holds events of the room. Its last event must be in the stream before the purge.
async fn has_unpublished_events(store: &Store, room: RoomId) -> sqlx::Result<bool> {
    let subject = subject::stored(store.log.shards(), room);
    let found: Option<i32> = on_db!(&store.database, e => sqlx::query_scalar(
        "SELECT 1 FROM outbox WHERE NOT revokes AND subject = $1 LIMIT 1"
    ).bind(&subject).fetch_optional(e))?;
    Ok(found.is_some())
}

async fn run(
    database: &Database,
    statement: &'static str,
    room: Uuid,
    at: DateTime<Utc>,
) -> sqlx::Result<()> {
    let mut tx = database.begin().await?;
    on_tx!(&mut tx, e => sqlx::query(statement).bind(room).bind(at).execute(e))?;
    tx.commit().await
}
