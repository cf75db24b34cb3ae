//! Purges archived events that are older than the replay window from a stream, whatever their kind, so that the
//! stream does not fill up while the archive works. A stream that is filling up is purged of younger archived events
//! too. A full one is purged at once: the largest rooms first, and in the end even the newest events.

mod fill_level;
mod rooms;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use chrono::{TimeDelta, Utc};
use protocol::Seq;
use service::stream::{ShardStream, StreamSize};
use store::db::Database;
use tokio::sync::Mutex;

use self::{fill_level::FillLevel, rooms::RoomPurge};
use super::room_bytes::RoomBytes;

/// How long archived events stay in a stream that is filling up: enough for sockets that reconnect, and for edits
/// of new messages.
const WINDOW_WHEN_FILLING: TimeDelta = TimeDelta::seconds(60);

/// Purges one stream.
pub struct Purge {
    stream: ShardStream,
    rooms: RoomPurge,
    /// The replay window: how long archived events stay in the stream.
    window: TimeDelta,
    /// The last time when rooms were purged.
    ran_at: Mutex<Option<Instant>>,
    /// The seq up to which read marks are purged.
    reads_purged: AtomicU64,
}

impl Purge {
    pub fn new(stream: ShardStream, room_bytes: Arc<RoomBytes>, window: TimeDelta) -> Self {
        let rooms = RoomPurge::new(stream.clone(), room_bytes);
        let (ran_at, reads_purged) = (Mutex::default(), AtomicU64::default());
        Self { stream, rooms, window, ran_at, reads_purged }
    }

    /// Purges if the interval has passed. Everything up to `acknowledged` is archived.
    pub async fn run(&self, database: &Database, acknowledged: Seq) -> anyhow::Result<()> {
        let mut ran_at = self.ran_at.lock().await;
        let size = self.stream.size().await?;
        let stream = self.stream.shard().stream();
        metrics::gauge!("chat_stream_bytes", "stream" => stream.clone()).set(size.bytes as f64);
        if let Some(max) = size.max_bytes {
            metrics::gauge!("chat_stream_max_bytes", "stream" => stream.clone()).set(max as f64);
        }
        let fill = FillLevel::of(&size);
        if ran_at.is_some_and(|at| at.elapsed() < fill.interval()) {
            return Ok(());
        }
        if self.reads_purged.load(Relaxed) < acknowledged.get() {
            // Only the archive reads them.
            self.stream.purge_reads(acknowledged.next()).await?;
            self.reads_purged.store(acknowledged.get(), Relaxed);
        }
        let purged = match fill {
            FillLevel::Normal => self.purge_older_than(database, size, self.window).await?,
            FillLevel::Filling => {
                let window = WINDOW_WHEN_FILLING.min(self.window);
                self.purge_older_than(database, size, window).await?
            }
            FillLevel::Full => self.purge_until_normal(database, size).await?,
        };
        metrics::counter!("chat_archive_purged_rooms_total").increment(purged);
        if fill != FillLevel::Normal {
            tracing::warn!(
                stream,
                purged,
                bytes = size.bytes,
                "the stream is filling up; archived events were purged early"
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
        let bound = first_kept.unwrap_or(size.last_seq.next());
        self.rooms.purge_before(database, bound, size.replicas).await
    }

    /// Purges the largest rooms, then all rooms, then the newest events of rooms, until the stream is no longer full.
    async fn purge_until_normal(
        &self,
        database: &Database,
        size: StreamSize,
    ) -> anyhow::Result<u64> {
        let bound = size.last_seq.next();
        let mut purged = self.rooms.purge_largest(database, bound, size.replicas).await?;
        if FillLevel::of(&self.stream.size().await?) == FillLevel::Normal {
            return Ok(purged);
        }
        purged += self.rooms.purge_before(database, bound, size.replicas).await?;
        purged += self.rooms.purge_newest(database).await?;
        let now = self.stream.size().await?;
        if FillLevel::of(&now) == FillLevel::Full {
            tracing::error!(
                stream = self.stream.shard().stream(),
                bytes = now.bytes,
                "the stream is full of events that are not archived yet"
            );
        }
        Ok(purged)
    }
}
