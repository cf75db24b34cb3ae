//! Moves events of one shard's stream into the database, a batch at a time.
//!
//! An event may be delivered again after later ones: an archive crashed, or two share the consumer. See
//! [`super::pending_watermarks`]. An event that can never be stored becomes a dead letter, so that it blocks
//! nothing else.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use async_nats::{Client, jetstream::Message};
use protocol::{RoomId, Seq, subject::Stored};
use service::stream::ShardStream;
use store::db::{self, Database};
use tokio::sync::Mutex;

use super::{
    archive_entry::ArchiveEntry,
    batch_rows::BatchRows,
    batch_trace::BatchTrace,
    dead_letters::{self, DeadLetterReason},
    pending_watermarks::{self, PendingWatermarks, Watermarks},
    room_bytes::RoomBytes,
    stream_consumer::{self, Progress, StreamConsumer},
    write_batch::{self, Outcome, StreamState},
};

/// Redelivery delay of a change whose message is not stored yet, because another archive has it.
const EARLY_RETRY_AFTER: Duration = Duration::from_millis(300);

/// See the module.
pub struct BatchMover {
    consumer: StreamConsumer,
    room_bytes: Arc<RoomBytes>,
    /// The lock also keeps two batches of one process from running at the same time.
    pending: Mutex<PendingWatermarks>,
}

/// A decoded batch.
struct Batch {
    /// In the order of the stream.
    entries: Vec<ArchiveEntry>,
    dead: Vec<(Seq, DeadLetterReason)>,
    /// The newest event of each room.
    watermarks: Watermarks,
    newest: Seq,
}

impl BatchMover {
    pub fn new(client: Client, stream: ShardStream, room_bytes: Arc<RoomBytes>) -> Self {
        let consumer = StreamConsumer::new(client, stream);
        Self { consumer, room_bytes, pending: Mutex::default() }
    }

    fn stream(&self) -> &ShardStream {
        self.consumer.stream()
    }

    pub async fn progress(&self) -> anyhow::Result<Progress> {
        self.consumer.progress().await
    }

    /// Moves batches until the stream is empty, a batch fails, or `until` is reached; at least one batch.
    /// Returns how many events were moved.
    pub async fn drain(&self, database: &Database, until: Instant) -> (usize, anyhow::Result<()>) {
        let mut moved = 0;
        loop {
            match self.move_batch(database).await {
                Ok(0) => return (moved, Ok(())),
                Ok(batch) => moved += batch,
                Err(error) => return (moved, Err(error.context(self.stream().shard().stream()))),
            }
            if Instant::now() >= until {
                return (moved, Ok(()));
            }
        }
    }

    /// Stores the next events in the database, then acknowledges them. Returns how many. If storing fails, they
    /// are delivered again soon.
    pub async fn move_batch(&self, database: &Database) -> anyhow::Result<usize> {
        let mut pending = self.pending.lock().await;
        let (messages, interrupted) = self.consumer.fetch().await?;
        let mut trace = BatchTrace::start(&messages);
        if messages.is_empty() {
            self.write_pending(database, &mut pending).await?;
        } else if let Err(error) = self.store(database, &messages, &mut pending).await {
            trace.fail();
            self.consumer.reject(&messages).await;
            return Err(error);
        }
        interrupted.map_or(Ok(messages.len()), Err)
    }

    /// Writes pending watermarks that are complete by now, although no event arrived.
    async fn write_pending(
        &self,
        database: &Database,
        pending: &mut PendingWatermarks,
    ) -> anyhow::Result<()> {
        if pending.is_empty() {
            return Ok(());
        }
        let complete_to = self.consumer.complete_to(0).await?;
        let watermarks = pending.complete(complete_to);
        let Some(stored) = watermarks.values().max().copied() else { return Ok(()) };
        let state = StreamState { shard: self.stream().shard(), watermarks, stored };
        let written =
            write_batch::store(database, BatchRows::default(), Some(&state), complete_to).await;
        let written = written.context("cannot store how far rooms are archived")?;
        pending.remove_complete(complete_to);
        self.purge_unknown(&written.unknown, &state.watermarks).await
    }

    async fn store(
        &self,
        database: &Database,
        messages: &[Message],
        pending: &mut PendingWatermarks,
    ) -> anyhow::Result<()> {
        let batch = Batch::decode(messages)?;
        let complete_to = self.consumer.complete_to(messages.len()).await?;
        let mut watermarks = pending.complete(complete_to);
        if complete_to == Seq::MAX {
            pending_watermarks::merge(&mut watermarks, &batch.watermarks);
        }
        let shard = self.stream().shard();
        let state = StreamState { shard, watermarks, stored: batch.newest };
        let stored = store_or_bisect(database, &batch.entries, &state, complete_to).await;
        let (outcome, refused) = stored.context("cannot store events")?;
        pending.remove_complete(complete_to);
        if complete_to != Seq::MAX {
            pending.push(batch.watermarks.clone());
        }
        let mut dead = batch.dead;
        dead.extend(refused.into_iter().map(|seq| (seq, DeadLetterReason::RefusedByDatabase)));
        let mut redelivered = dead_letters::park(self.stream(), messages, &dead).await;
        redelivered.extend(outcome.early.iter().map(|seq| (*seq, EARLY_RETRY_AFTER)));
        let mut watermarks = state.watermarks;
        pending_watermarks::merge(&mut watermarks, &batch.watermarks);
        self.purge_unknown(&outcome.unknown, &watermarks).await?;
        for message in messages {
            if let Some(Stored::Event(room)) = Stored::parse(&message.subject) {
                self.room_bytes.add(room, message.length);
            }
        }
        metrics::counter!("chat_archive_events_total").increment(messages.len() as u64);
        stream_consumer::acknowledge(messages, &redelivered).await
    }

    /// Purges events of rooms that the database does not have: nobody can read them, and nothing else would
    /// ever purge them. A room's row is written before its first event and removed after its last.
    async fn purge_unknown(
        &self,
        unknown: &BTreeSet<RoomId>,
        watermarks: &Watermarks,
    ) -> anyhow::Result<()> {
        for (room, newest) in unknown.iter().filter_map(|room| watermarks.get_key_value(room)) {
            tracing::warn!(%room, head = %newest, "purging events of a room that is not in the database");
            self.stream().purge_room(*room, newest.next()).await?;
        }
        Ok(())
    }
}

impl Batch {
    fn decode(messages: &[Message]) -> anyhow::Result<Self> {
        let (mut entries, mut dead) = (Vec::with_capacity(messages.len()), Vec::new());
        let (mut watermarks, mut newest) = (Watermarks::new(), Seq::ZERO);
        for message in messages {
            let seq = stream_consumer::seq_of(message)?;
            newest = seq.max(newest);
            let stored = Stored::parse(&message.subject);
            if let Some(Stored::Event(room)) = stored {
                pending_watermarks::merge(&mut watermarks, &Watermarks::from([(room, seq)]));
            }
            match ArchiveEntry::decode(stored, seq, &message.payload) {
                Ok(entry) => entries.push(entry),
                Err(reason) => dead.push((seq, reason)),
            }
        }
        entries.sort_unstable_by_key(|entry: &ArchiveEntry| entry.seq);
        Ok(Self { entries, dead, watermarks, newest })
    }
}

/// Stores entries in one transaction. If the database rejects a value, bisects the batch until the entries at
/// fault are found. Returns the seqs of the rejected ones.
async fn store_or_bisect(
    database: &Database,
    entries: &[ArchiveEntry],
    state: &StreamState,
    complete_to: Seq,
) -> sqlx::Result<(Outcome, Vec<Seq>)> {
    match write_batch::store(database, BatchRows::of(entries), Some(state), complete_to).await {
        Ok(outcome) => return Ok((outcome, Vec::new())),
        Err(error) if db::is_refused(&error) => {
            tracing::warn!(%error, "the database rejects an event; bisecting the batch");
        }
        Err(error) => return Err(error),
    }
    let (mut outcome, mut refused) = (Outcome::default(), Vec::new());
    let mut pieces = vec![entries];
    while let Some(piece) = pieces.pop() {
        match write_batch::store(database, BatchRows::of(piece), None, complete_to).await {
            Ok(stored) => outcome.early.extend(stored.early),
            Err(error) if !db::is_refused(&error) => return Err(error),
            Err(_) if piece.len() <= 1 => refused.extend(piece.first().map(|entry| entry.seq)),
            Err(_) => {
                let (first, second) = piece.split_at(piece.len() / 2);
                pieces.extend([second, first]);
            }
        }
    }
    let written =
        write_batch::store(database, BatchRows::default(), Some(state), complete_to).await?;
    outcome.unknown = written.unknown;
    Ok((outcome, refused))
}
