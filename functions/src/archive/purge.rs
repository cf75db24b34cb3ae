//! The stream's old end: what is archived and older than the replay window leaves it, so that it never
//! fills up while the archive works.
//!
//! Each room keeps its newest event: the room's next one names it as `prev`. A stream that is filling
//! up all the same forgets what is archived sooner.

use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use protocol::RoomId;
use service::stream::{Held, ShardStream};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::db::{Database, on_db, on_tx};

/// How often rooms are looked through.
const EVERY: Duration = Duration::from_secs(5 * 60);
/// The same while the stream is filling up.
const EVERY_UNDER_PRESSURE: Duration = Duration::from_secs(10);
/// A stream is filling up when so many hundredths of it are full.
const PRESSURE_PERCENT: u64 = 70;
/// Even then, a request that was told how far the database is may still read on from there.
const REQUESTS_END_WITHIN: TimeDelta = TimeDelta::seconds(60);
/// A replica that lags behind shows a mark after this time; it must not show the purge before.
const MARKS_SEEN_AFTER: Duration = Duration::from_secs(2);
/// Rooms looked at by one statement.
const ROOMS: i64 = 500;

/// When a stream is purged next.
pub struct Purge {
    stream: ShardStream,
    /// How long events stay in the stream that are archived.
    window: TimeDelta,
    due_at: Mutex<Instant>,
}

#[derive(sqlx::FromRow)]
struct Candidate {
    room_id: Uuid,
    kept_seq: i64,
    /// The newest message that may become the oldest event.
    event: Option<i64>,
}

impl Purge {
    pub fn new(stream: ShardStream, window: TimeDelta) -> Self {
        Self { stream, window, due_at: Mutex::new(Instant::now()) }
    }

    /// Purges if it is time to. `acknowledged` is the seq up to which the archive has taken all.
    pub async fn run(&self, database: &Database, acknowledged: u64) -> anyhow::Result<()> {
        let mut due_at = self.due_at.lock().await;
        if Instant::now() < *due_at {
            return Ok(());
        }
        let held = self.stream.held().await?;
        let name = self.stream.shard().stream();
        metrics::gauge!("stream_bytes", "stream" => name.clone()).set(held.bytes as f64);
        let is_filling =
            held.max_bytes.is_some_and(|max| held.bytes > max / 100 * PRESSURE_PERCENT);
        let keep = if is_filling { REQUESTS_END_WITHIN.min(self.window) } else { self.window };
        let first_kept = self.stream.first_since(Utc::now() - keep).await?;
        let bound = first_kept.unwrap_or(held.last_seq + 1);
        let purged = self.purge_rooms(database, held, bound).await?;
        self.stream.purge_reads((acknowledged + 1).min(bound)).await?;
        metrics::counter!("archive_purged_rooms_total").increment(purged);
        if is_filling {
            tracing::warn!(
                stream = name,
                purged,
                "the stream is filling up; archived events leave it early"
            );
        }
        *due_at = Instant::now() + if is_filling { EVERY_UNDER_PRESSURE } else { EVERY };
        Ok(())
    }

    /// Every room's events before the last one that is archived and below `bound`.
    async fn purge_rooms(
        &self,
        database: &Database,
        held: Held,
        bound: u64,
    ) -> anyhow::Result<u64> {
        let (mut purged, mut after) = (0, Uuid::nil());
        loop {
            let page: Vec<Candidate> = on_db!(database, e => sqlx::query_as(
                "SELECT l.room_id, l.kept_seq, (SELECT MAX(m.seq) FROM message m
                   WHERE m.room_id = l.room_id AND m.seq < $1 AND m.seq <= l.archived_seq) AS event
                 FROM room_log l
                 WHERE l.room_id > $2 AND l.kept_seq < l.archived_seq AND l.kept_seq < $1
                 ORDER BY l.room_id LIMIT $3"
            ).bind(i64::try_from(bound)?).bind(after).bind(ROOMS).fetch_all(e))?;
            let Some(last) = page.last() else { return Ok(purged) };
            after = last.room_id;
            let mut marked = Vec::new();
            for Candidate { room_id, kept_seq, event } in page {
                let event = event.filter(|event| *event > kept_seq);
                if let Some(event) = event.filter(|_| self.stream.has(room_id.into()))
                    && self.mark(database, room_id.into(), event).await?
                {
                    marked.push((RoomId::from(room_id), u64::try_from(event)?));
                }
            }
            if held.replicas > 1 && !marked.is_empty() {
                tokio::time::sleep(MARKS_SEEN_AFTER).await;
            }
            for (room, event) in &marked {
                self.stream.purge_room(*room, *event).await?;
            }
            purged += marked.len() as u64;
        }
    }

    /// Writes down how far back the room goes, before it does. False where another archive has written
    /// as much or more: under the row's lock a mark only ever rises.
    async fn mark(&self, database: &Database, room: RoomId, event: i64) -> anyhow::Result<bool> {
        let mut tx = database.begin().await?;
        let is_further = on_tx!(&mut tx, e => sqlx::query(
            "UPDATE room_log SET kept_seq = $2 WHERE room_id = $1 AND kept_seq < $2"
        ).bind(room.as_uuid()).bind(event).execute(e))?;
        if is_further > 0 {
            self.stream.mark(room, u64::try_from(event)?).await?;
            tx.commit().await?;
        }
        Ok(is_further > 0)
    }
}
