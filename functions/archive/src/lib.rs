//! The event function: moves stored events from JetStream into the database, takes them from the
//! stream's old end, and finishes what requests began. Repeating any of it changes nothing.

mod accounts;
mod batch;
mod config;
mod dead_letters;
mod entry;
mod failures;
mod held_heads;
mod objects;
mod purge;
mod reaction_kinds;
mod rooms;
mod rows;
mod uploads;
mod volume;
mod write;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use protocol::Seq;
use secrecy::ExposeSecret as _;
use service::{nats, roomlog::RoomLog, stream::ShardStream};
use store::{
    Store, db::Database, message_lookup, outbox::Sweeper, publish_budgets, storage::Storage,
    stream_log,
};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

pub use self::config::Config;
use self::{batch::Source, failures::Failures, purge::Purge, volume::Volumes};

/// How often what requests left behind is looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(2);
/// How often a stream is looked at: one that is full takes nothing more until it is purged.
const PURGE_EVERY: Duration = Duration::from_secs(1);
/// How often stream and database are compared.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// How often is looked for what nobody can use any more.
const TIDY_EVERY: Duration = Duration::from_secs(10 * 60);
/// After a failure; what was not acknowledged comes again by itself.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How long a statement of the archive may take: it goes in steps of some thousand rows, and nobody
/// waits for an answer.
const STATEMENT_WITHIN: Duration = Duration::from_secs(60);
/// How long a batch may take to finish after the signal. One that is cut off comes again.
const FINISH_WITHIN: Duration = Duration::from_secs(5);

/// A connected archive.
pub struct Archive {
    store: Store,
    client: async_nats::Client,
    storage: Storage,
    shards: Vec<Shard>,
    outbox: Sweeper,
    pass: Duration,
    tidied: Mutex<Option<Instant>>,
}

/// One shard's stream, from both ends.
struct Shard {
    source: Source,
    stream: ShardStream,
    purge: Purge,
}

impl Archive {
    /// Connects to database, NATS and storage.
    pub async fn connect(config: &Config) -> anyhow::Result<Self> {
        let database =
            Database::connect_limited(config.database.0.expose_secret(), STATEMENT_WITHIN).await?;
        let client = nats::connect(&config.nats, |_| {}).await?;
        let log = RoomLog::new(client.clone(), config.shards);
        let mut shards = Vec::new();
        for shard in config.shards.all() {
            let stream = || ShardStream::new(client.clone(), log.clone(), shard);
            let volumes = Arc::new(Volumes::default());
            shards.push(Shard {
                source: Source::new(client.clone(), stream(), volumes.clone()),
                stream: stream(),
                purge: Purge::new(stream(), volumes, config.replay_window),
            });
        }
        let storage = Storage::connect(&config.storage).await?;
        let (outbox, pass, tidied) = (Sweeper::default(), config.pass, Mutex::default());
        let store = Store { database, log };
        Ok(Self { store, client, storage, shards, outbox, pass, tidied })
    }

    /// Moves events until every stream is empty or it is time to end, then sweeps. What fails stops
    /// nothing else; all failures are returned at the end. `ends_at` is when this process must be done,
    /// if somebody else says so. Returns how many events were moved.
    pub async fn once(&self, ends_at: Option<Instant>) -> anyhow::Result<usize> {
        let now = Instant::now();
        let left = ends_at.map_or(self.pass, |at| at.saturating_duration_since(now).min(self.pass));
        // The rest is for the sweeps.
        let until = now + left * 2 / 3;
        let drained = futures_util::future::join_all(self.shards.iter().map(|shard| async move {
            match self.check(shard).await {
                Ok(()) => shard.source.drain(&self.store.database, until).await,
                Err(error) => (0, Err(error)),
            }
        }));
        let drained = drained.await;
        let moved = drained.iter().map(|(moved, _)| moved).sum();
        let mut failures = Failures::default();
        drained.into_iter().for_each(|(_, result)| failures.note(result));
        failures.note(self.purge().await);
        failures.note(self.sweep().await);
        failures.into_result()?;
        Ok(moved)
    }

    /// All of it, whatever part of it fails.
    async fn sweep(&self) -> anyhow::Result<()> {
        let streams: Vec<&ShardStream> = self.shards.iter().map(|shard| &shard.stream).collect();
        let mut failures = Failures::default();
        let swept = self.outbox.sweep(&self.store.database, &self.store.log).await.map(|swept| {
            metrics::counter!("archive_outbox_swept_total").increment(swept);
        });
        failures.note(swept);
        failures.note(uploads::remove_incomplete(&self.store.database).await);
        failures.note(objects::remove(&self.store.database, &self.storage).await);
        failures.note(rooms::remove(&self.store, &streams).await);
        let archived = self.archived_until().await.map_err(|error| failures.note(Err(error)));
        let archived = archived.ok();
        failures.note(accounts::erase(&self.store, archived).await);
        failures.note(self.tidy().await);
        failures.into_result()
    }

    /// A moment before which every event of every room is archived.
    async fn archived_until(&self) -> anyhow::Result<DateTime<Utc>> {
        let mut until = Utc::now();
        for shard in &self.shards {
            until = until.min(shard.source.reached().await?.archived_until);
        }
        Ok(until)
    }

    async fn purge(&self) -> anyhow::Result<()> {
        let mut failures = Failures::default();
        for shard in &self.shards {
            let purged = async {
                self.check(shard).await?;
                let acknowledged = shard.source.reached().await?.acknowledged;
                shard.purge.run(&self.store.database, acknowledged).await
            };
            failures.note(purged.await);
        }
        failures.into_result()
    }

    async fn tidy(&self) -> anyhow::Result<()> {
        let mut tidied = self.tidied.lock().await;
        if tidied.is_none_or(|at| at.elapsed() >= TIDY_EVERY) {
            accounts::tidy(&self.store.database).await?;
            publish_budgets::remove_expired(&self.store.database).await?;
            *tidied = Some(Instant::now());
        }
        Ok(())
    }

    /// Goes on until `shutdown`, and finishes the batch it has.
    pub async fn follow(self, shutdown: CancellationToken) {
        let moving = self.shards.iter().map(|shard| self.follow_shard(shard, &shutdown));
        let late = async {
            shutdown.cancelled().await;
            tokio::time::sleep(FINISH_WITHIN).await;
        };
        tokio::select! {
            _ = futures_util::future::join_all(moving) => {}
            () = self.follow_sweeps() => {}
            () = self.answer_sent(&shutdown) => {}
            () = self.follow_purges() => {}
            () = late => tracing::warn!("a batch did not finish in time; it comes again"),
        }
        self.store.database.close().await;
    }

    /// Never returns: the batch that was begun goes on after `shutdown`.
    async fn answer_sent(&self, shutdown: &CancellationToken) {
        let (client, store) = (self.client.clone(), self.store.clone());
        message_lookup::answer(client, store, shutdown.clone()).await;
        std::future::pending().await
    }

    /// Stream and database must fit: what is archived from a stream that is behind, or purged from one
    /// that the database is behind, is lost.
    async fn check(&self, shard: &Shard) -> anyhow::Result<()> {
        let (of, water) = (shard.stream.shard(), self.store.log.high_water());
        let stream = of.stream();
        // Asked before the database, which is written before the acknowledgement.
        let acknowledged = shard.source.reached().await?.acknowledged;
        let stored = stream_log::stored(&self.store.database, of).await?;
        water.raise(of, stored.unwrap_or_default());
        let last = self.store.log.last_seq(of).await?;
        water.set_behind(of, last.is_none_or(|last| last < water.highest(of)));
        anyhow::ensure!(
            !water.is_behind(of),
            "stream {stream} is behind the database; run `provision --advance`"
        );
        let is_ahead = match stored {
            Some(stored) => acknowledged > stored,
            None => acknowledged > Seq::ZERO && stream_log::is_empty(&self.store.database).await?,
        };
        metrics::gauge!("database_behind", "stream" => stream.clone()).set(f64::from(is_ahead));
        anyhow::ensure!(
            !is_ahead,
            "the database is behind stream {stream}, which was archived up to {acknowledged}; restore \
             it, then run `provision --replay`"
        );
        Ok(())
    }

    async fn follow_shard(&self, shard: &Shard, shutdown: &CancellationToken) {
        let mut checked_at: Option<Instant> = None;
        while !shutdown.is_cancelled() {
            let moved = async {
                if checked_at.is_none_or(|at| at.elapsed() >= CHECK_EVERY) {
                    self.check(shard).await?;
                    checked_at = Some(Instant::now());
                }
                shard.source.move_batch(&self.store.database).await
            };
            if let Err(error) = moved.await {
                checked_at = None;
                tracing::warn!(error = format!("{error:#}"), "events cannot be archived now");
                shutdown.run_until_cancelled(tokio::time::sleep(TRY_AGAIN_AFTER)).await;
            }
        }
    }

    async fn follow_sweeps(&self) {
        loop {
            if let Err(error) = self.sweep().await {
                tracing::warn!(error = format!("{error:#}"), "not all could be swept now");
            }
            tokio::time::sleep(SWEEP_EVERY).await;
        }
    }

    /// Apart from the sweeps: a long deletion must not keep a full stream full.
    async fn follow_purges(&self) {
        loop {
            if let Err(error) = self.purge().await {
                tracing::warn!(error = format!("{error:#}"), "not all could be purged now");
            }
            tokio::time::sleep(PURGE_EVERY).await;
        }
    }
}

/// Connects and goes on until `shutdown`.
pub async fn follow(config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    // All that runs side by side makes a big future; the caller should not carry it.
    Box::pin(Archive::connect(&config).await?.follow(shutdown)).await;
    Ok(())
}

/// Connects, moves what there is, sweeps, and ends.
pub async fn once(config: Config) -> anyhow::Result<usize> {
    Archive::connect(&config).await?.once(None).await
}
