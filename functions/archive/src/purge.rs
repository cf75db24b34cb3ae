//! The stream's old end: what is archived and older than the replay window leaves it, whatever kind of
//! event it is, so that the stream never fills up while the archive works.
//!
//! Each room keeps the newest of its events that leave the window: the event after it names it as
//! `prev`, and the mark that is written before a purge is an event of the room. A stream that is filling
//! up forgets what is archived sooner; a full one at once, biggest rooms first, and at last the newest
//! events too: the marks say what they were.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use chrono::{TimeDelta, Utc};
use protocol::{RoomId, Seq};
use service::stream::{ShardStream, StreamSize};
use store::db::{self, Database, on_db, on_tx};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::volume::Volumes;

/// How often rooms are looked through.
const EVERY: Duration = Duration::from_secs(5 * 60);
/// The same while the stream is filling up.
const EVERY_UNDER_PRESSURE: Duration = Duration::from_secs(10);
/// A stream is filling up when so many hundredths of it are full.
const PRESSURE_PERCENT: u64 = 70;
/// It is full at so many hundredths, or when the largest event might not find a place.
const FULL_PERCENT: u64 = 90;
const LARGEST_EVENT: u64 = 64 * 1024;
/// How long archived events stay in a stream that is filling up: long enough for a socket that
/// reconnects, and for changes of what was just said.
const WINDOW_UNDER_PRESSURE: TimeDelta = TimeDelta::seconds(60);
/// A replica that lags behind shows a mark after this time; it must not show the purge before.
const MARKS_SEEN_AFTER: Duration = Duration::from_secs(2);
/// Rooms looked at by one statement.
const ROOMS: usize = 500;

/// How full a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fill {
    Roomy,
    Filling,
    Full,
}

impl Fill {
    fn of(size: &StreamSize) -> Self {
        let Some(max) = size.max_bytes else { return Self::Roomy };
        if size.bytes > max / 100 * FULL_PERCENT || size.bytes + LARGEST_EVENT > max {
            Self::Full
        } else if size.bytes > max / 100 * PRESSURE_PERCENT {
            Self::Filling
        } else {
            Self::Roomy
        }
    }

    fn every(self) -> Duration {
        match self {
            Self::Roomy => EVERY,
            Self::Filling => EVERY_UNDER_PRESSURE,
            Self::Full => Duration::ZERO,
        }
    }
}

/// Purges one stream.
pub struct Purge {
    stream: ShardStream,
    volumes: Arc<Volumes>,
    /// How long events stay in the stream that are archived.
    window: TimeDelta,
    /// When rooms were looked through last.
    ran_at: Mutex<Option<Instant>>,
    /// Up to which seq read marks are purged.
    reads_purged: AtomicU64,
}

#[derive(sqlx::FromRow)]
struct Candidate {
    room_id: Uuid,
    #[sqlx(try_from = "i64")]
    kept_seq: Seq,
    #[sqlx(try_from = "i64")]
    archived_seq: Seq,
}

impl Purge {
    pub fn new(stream: ShardStream, volumes: Arc<Volumes>, window: TimeDelta) -> Self {
        let (ran_at, reads_purged) = (Mutex::default(), AtomicU64::default());
        Self { stream, volumes, window, ran_at, reads_purged }
    }

    /// Purges if it is time to. `acknowledged` is the seq up to which the archive has taken all.
    pub async fn run(&self, database: &Database, acknowledged: Seq) -> anyhow::Result<()> {
        let mut ran_at = self.ran_at.lock().await;
        let size = self.stream.size().await?;
        let stream = self.stream.shard().stream();
        metrics::gauge!("stream_bytes", "stream" => stream.clone()).set(size.bytes as f64);
        let fill = Fill::of(&size);
        if ran_at.is_some_and(|at| at.elapsed() < fill.every()) {
            return Ok(());
        }
        if self.reads_purged.load(Relaxed) < acknowledged.get() {
            // Nobody reads them from the stream.
            self.stream.purge_reads(acknowledged.next()).await?;
            self.reads_purged.store(acknowledged.get(), Relaxed);
        }
        let purged = match fill {
            Fill::Roomy => self.purge_older_than(database, size, self.window).await?,
            Fill::Filling => {
                let window = WINDOW_UNDER_PRESSURE.min(self.window);
                self.purge_older_than(database, size, window).await?
            }
            Fill::Full => self.purge_until_roomy(database, size).await?,
        };
        metrics::counter!("archive_purged_rooms_total").increment(purged);
        if fill != Fill::Roomy {
            tracing::warn!(
                stream,
                purged,
                bytes = size.bytes,
                "the stream is filling up; archived events leave it early"
            );
        }
        *ran_at = Some(Instant::now());
        Ok(())
    }

    async fn purge_older_than(
        &self,
        database: &Database,
        size: StreamSize,
        window: TimeDelta,
    ) -> anyhow::Result<u64> {
        let first_kept = self.stream.first_since(Utc::now() - window).await?;
        self.purge_below(database, size, first_kept.unwrap_or(size.last_seq.next())).await
    }

    /// Room by room, biggest first, until there is space again; all rooms if that is not enough.
    async fn purge_until_roomy(
        &self,
        database: &Database,
        size: StreamSize,
    ) -> anyhow::Result<u64> {
        let (mut purged, mut at_once) = (0, 1);
        let biggest = self.volumes.biggest_first();
        let mut left = &biggest[..];
        while !left.is_empty() {
            let (rooms, others) = left.split_at(at_once.min(left.len()));
            left = others;
            // Usually it is the first one; looking after each of many would take long.
            at_once = (at_once * 2).min(ROOMS);
            let mut candidates = Vec::new();
            for room in rooms.iter().filter(|room| self.stream.has(**room)) {
                let candidate: Option<Candidate> = on_db!(database, e => sqlx::query_as(
                    "SELECT room_id, kept_seq, archived_seq FROM room_log
                     WHERE room_id = $1 AND kept_seq < archived_seq"
                ).bind(room.as_uuid()).fetch_optional(e))?;
                candidates.extend(candidate);
            }
            purged += self.purge_rooms(database, size, size.last_seq.next(), candidates).await?;
            let now = self.stream.size().await?;
            if Fill::of(&now) == Fill::Roomy {
                return Ok(purged);
            }
        }
        purged += self.purge_below(database, size, size.last_seq.next()).await?;
        purged += self.purge_newest(database).await?;
        let now = self.stream.size().await?;
        if Fill::of(&now) == Fill::Full {
            tracing::error!(
                stream = self.stream.shard().stream(),
                bytes = now.bytes,
                "the stream is full of what is not archived yet"
            );
        }
        Ok(purged)
    }

    /// The newest event of rooms as well, until there is space again: many rooms fill a stream with
    /// nothing else. Its seq is the room's mark, from which gateways take the next one's `prev`.
    async fn purge_newest(&self, database: &Database) -> anyhow::Result<u64> {
        let mut purged = 0;
        if Fill::of(&self.stream.size().await?) != Fill::Full {
            return Ok(purged);
        }
        for rooms in self.stream.rooms().await?.chunks(ROOMS) {
            for room in rooms {
                let marked: Option<i64> = on_db!(database, e => sqlx::query_scalar(
                    "SELECT l.kept_seq FROM room_log l JOIN room r ON r.id = l.room_id
                     WHERE l.room_id = $1 AND l.kept_seq = l.archived_seq AND r.deleted_at IS NULL"
                ).bind(room.as_uuid()).fetch_optional(e))?;
                if let Some(marked) = marked.map(db::seq).transpose()? {
                    self.stream.purge_room(*room, marked.next()).await?;
                    purged += 1;
                }
            }
            if Fill::of(&self.stream.size().await?) == Fill::Roomy {
                break;
            }
        }
        Ok(purged)
    }

    /// Every room's events before the last one that is archived and below `bound`.
    async fn purge_below(
        &self,
        database: &Database,
        size: StreamSize,
        bound: Seq,
    ) -> anyhow::Result<u64> {
        let (mut purged, mut after) = (0, Uuid::nil());
        loop {
            let page: Vec<Candidate> = on_db!(database, e => sqlx::query_as(
                "SELECT room_id, kept_seq, archived_seq FROM room_log
                 WHERE room_id > $2 AND kept_seq < archived_seq AND kept_seq < $1
                 ORDER BY room_id LIMIT $3"
            ).bind(i64::from(bound)).bind(after).bind(ROOMS as i64).fetch_all(e))?;
            let Some(last) = page.last() else { return Ok(purged) };
            after = last.room_id;
            purged += self.purge_rooms(database, size, bound, page).await?;
        }
    }

    async fn purge_rooms(
        &self,
        database: &Database,
        size: StreamSize,
        bound: Seq,
        candidates: Vec<Candidate>,
    ) -> anyhow::Result<u64> {
        let mut marked = Vec::new();
        for (room, event) in self.events(candidates, bound).await? {
            if self.mark(database, room, event).await? {
                marked.push((room, event));
            }
        }
        if size.replicas > 1 && !marked.is_empty() {
            tokio::time::sleep(MARKS_SEEN_AFTER).await;
        }
        for (room, event) in &marked {
            self.stream.purge_room(*room, *event).await?;
            self.volumes.forget(*room);
        }
        Ok(marked.len() as u64)
    }

    /// The event of each room that becomes its oldest: the newest one that is archived and below
    /// `bound`. `archived_seq` is an event of the room; where it lies past the bound, the stream knows
    /// the one before.
    async fn events(
        &self,
        candidates: Vec<Candidate>,
        bound: Seq,
    ) -> anyhow::Result<Vec<(RoomId, Seq)>> {
        let (mut events, mut active) = (Vec::new(), Vec::new());
        let mut kept = std::collections::HashMap::new();
        for Candidate { room_id, kept_seq, archived_seq } in candidates {
            let room = RoomId::from(room_id);
            if !self.stream.has(room) {
                continue;
            }
            kept.insert(room, kept_seq);
            if archived_seq < bound {
                events.push((room, archived_seq));
            } else {
                active.push(room);
            }
        }
        events.extend(self.stream.newest_until(&active, bound.previous()).await?);
        events.retain(|(room, event)| kept.get(room).is_some_and(|kept| event > kept));
        Ok(events)
    }

    /// Writes down how far back the room goes, before it does. False where another archive has written
    /// as much or more: under the row's lock a mark only ever rises.
    async fn mark(&self, database: &Database, room: RoomId, event: Seq) -> anyhow::Result<bool> {
        let mut tx = database.begin().await?;
        let is_further = on_tx!(&mut tx, e => sqlx::query(
            "UPDATE room_log SET kept_seq = $2 WHERE room_id = $1 AND kept_seq < $2"
        ).bind(room.as_uuid()).bind(i64::from(event)).execute(e))?;
        if is_further > 0 {
            self.stream.mark(room, event).await?;
            tx.commit().await?;
        }
        Ok(is_further > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_full_when_the_largest_event_finds_no_place() {
        let fill = |bytes, max_bytes| {
            Fill::of(&StreamSize { bytes, max_bytes, last_seq: 9.into(), replicas: 1 })
        };
        assert_eq!(fill(u64::MAX, None), Fill::Roomy);
        let gigabyte = Some(1 << 30);
        assert_eq!(fill(700 << 20, gigabyte), Fill::Roomy);
        assert_eq!(fill(800 << 20, gigabyte), Fill::Filling);
        assert_eq!(fill(1000 << 20, gigabyte), Fill::Full);
        assert_eq!(fill(200_000, Some(400_000)), Fill::Roomy);
        assert_eq!(fill(300_000, Some(400_000)), Fill::Filling);
        assert_eq!(fill(336_000, Some(400_000)), Fill::Full);
        assert_eq!(fill(1, Some(65_536)), Fill::Full);
    }
}
