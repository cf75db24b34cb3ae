//! The event function. It archives stored events from JetStream in the database, purges old events from the streams,
//! and finishes work that requests began. Every step can be repeated without effect.

mod archive_entry;
mod batch;
mod batch_rows;
mod batch_trace;
mod catch_up;
mod config;
mod dead_letters;
mod deleted_accounts;
mod deleted_rooms;
mod expired_rows;
mod failures;
mod file_removal;
mod follow;
mod insert_rows;
mod message_changes;
mod object_removal;
mod pending_watermarks;
mod purge;
mod reaction_limit;
mod restore_check;
mod room_bytes;
mod stream_consumer;
mod write_batch;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use service::{nats, roomlog::RoomLog, stream::ShardStream};
use store::{
    Store,
    db::{self, Database},
    outbox::Sweeper,
    publish_budgets, refold,
    storage::Storage,
};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use self::{batch::BatchMover, failures::Failures, purge::Purge, room_bytes::RoomBytes};
pub use self::{catch_up::wait_until_archived, config::Config};

/// Interval of removing expired rows.
const EXPIRED_EVERY: Duration = Duration::from_secs(10 * 60);
/// Time of one sweep for recomputing search texts: after an upgrade there may be millions.
const REFOLD_TIME: Duration = Duration::from_secs(1);
/// Time of a pass that is left for the sweeps; at most a third of it.
const SWEEPS_WITHIN: Duration = Duration::from_secs(20);
/// Longer than a request's: the archive works in steps of some thousand rows, and no client waits for it.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);

/// The archive with its connections.
pub struct Archive {
    store: Store,
    client: async_nats::Client,
    storage: Storage,
    shards: Vec<ArchivedShard>,
    outbox: Sweeper,
    /// Time limit of [`Archive::once`].
    pass: Duration,
    /// When expired rows were removed last.
    expired_at: Mutex<Option<Instant>>,
}

/// One shard's stream: batches are taken from its new end, and the purge works at its old end.
struct ArchivedShard {
    mover: BatchMover,
    stream: ShardStream,
    purge: Purge,
}

impl Archive {
    pub async fn connect(config: &Config) -> anyhow::Result<Self> {
        let database = Database::open(&config.database, STATEMENT_TIMEOUT)?;
        db::refuse_other_schema(&database).await?;
        let client = nats::connect_in_background(&config.nats, |_| {}).await?;
        let log = RoomLog::new(client.clone(), config.shards);
        let mut shards = Vec::new();
        for shard in config.shards.all() {
            let stream = ShardStream::new(client.clone(), log.clone(), shard);
            let room_bytes = Arc::new(RoomBytes::default());
            shards.push(ArchivedShard {
                mover: BatchMover::new(client.clone(), stream.clone(), room_bytes.clone()),
                stream: stream.clone(),
                purge: Purge::new(stream, room_bytes, config.replay_window),
            });
        }
        let storage = Storage::new(&config.storage)?;
        let (outbox, pass, expired_at) = (Sweeper::default(), config.pass, Mutex::default());
        let store = Store { database, log };
        Ok(Self { store, client, storage, shards, outbox, pass, expired_at })
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    /// One pass: archives events until the streams are empty or most of the time is used, then sweeps. A
    /// failure does not stop the other steps; all failures are returned at the end. `ends_at` is the caller's
    /// deadline, if it has one. Returns how many events were archived.
    pub async fn once(&self, ends_at: Option<Instant>) -> anyhow::Result<usize> {
        let now = Instant::now();
        let left = ends_at.map_or(self.pass, |at| at.saturating_duration_since(now));
        // The rest is for the sweeps.
        let until = now + left - (left / 3).min(SWEEPS_WITHIN);
        let drained = futures_util::future::join_all(self.shards.iter().map(|shard| async move {
            match self.check_restore(shard).await {
                Ok(()) => shard.mover.drain(&self.store.database, until).await,
                Err(error) => (0, Err(error)),
            }
        }));
        let drained = drained.await;
        let moved = drained.iter().map(|(moved, _)| moved).sum();
        let mut failures = Failures::default();
        drained.into_iter().for_each(|(_, result)| failures.record(result));
        failures.record(self.purge().await);
        failures.record(self.sweep().await);
        let failed = |error| anyhow::anyhow!("{moved} events were archived, but: {error:#}");
        failures.into_result().map_err(failed)?;
        Ok(moved)
    }

    /// Finishes work that requests began. A failure does not stop the other steps.
    async fn sweep(&self) -> anyhow::Result<()> {
        let streams: Vec<&ShardStream> = self.shards.iter().map(|shard| &shard.stream).collect();
        let mut failures = Failures::default();
        let swept = self.outbox.sweep(&self.store.database, &self.store.log).await.map(|swept| {
            metrics::counter!("chat_archive_outbox_swept_total").increment(swept);
        });
        failures.record(swept);
        failures.record(file_removal::remove_incomplete(&self.store.database).await);
        failures.record(object_removal::remove(&self.store.database, &self.storage).await);
        failures.record(deleted_rooms::remove(&self.store, &streams).await);
        let archived = self.archived_until().await.map_err(|error| failures.record(Err(error)));
        failures.record(deleted_accounts::erase(&self.store, archived.ok()).await);
        failures.record(self.remove_expired().await);
        failures.record(self.refold().await);
        failures.into_result()
    }

    /// Every event that was stored before this time is archived, in all shards.
    async fn archived_until(&self) -> anyhow::Result<DateTime<Utc>> {
        let mut until = Utc::now();
        for shard in &self.shards {
            until = until.min(shard.mover.progress().await?.archived_until);
        }
        Ok(until)
    }

    async fn purge(&self) -> anyhow::Result<()> {
        let mut failures = Failures::default();
        for shard in &self.shards {
            let purged = async {
                self.check_restore(shard).await?;
                let acknowledged = shard.mover.progress().await?.acknowledged;
                shard.purge.run(&self.store.database, acknowledged).await
            };
            failures.record(purged.await);
        }
        failures.into_result()
    }

    /// Recomputes folded texts that an older version stored.
    async fn refold(&self) -> anyhow::Result<()> {
        let until = Instant::now() + REFOLD_TIME;
        let database = &self.store.database;
        while refold::room_names(database).await? && Instant::now() < until {}
        while refold::search_texts(database).await? && Instant::now() < until {}
        Ok(())
    }

    async fn remove_expired(&self) -> anyhow::Result<()> {
        let mut expired_at = self.expired_at.lock().await;
        if expired_at.is_none_or(|at| at.elapsed() >= EXPIRED_EVERY) {
            expired_rows::remove(&self.store.database).await?;
            publish_budgets::remove_expired(&self.store.database).await?;
            *expired_at = Some(Instant::now());
        }
        Ok(())
    }
}

/// Connects and runs until `shutdown`.
pub async fn follow(config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    // Boxed, because the future of all concurrent tasks is large.
    Box::pin(Archive::connect(&config).await?.follow(shutdown)).await;
    Ok(())
}

/// Connects and makes one pass.
pub async fn once(config: Config) -> anyhow::Result<usize> {
    Archive::connect(&config).await?.once(None).await
}
