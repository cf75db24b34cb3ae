//! The event function: moves stored events from JetStream into the database, takes them from the
//! stream's old end, and finishes what requests began. Repeating any of it changes nothing.

mod accounts;
mod batch;
mod config;
mod kinds;
mod objects;
mod purge;
mod rooms;
mod rows;
mod store;
mod uploads;

use std::time::{Duration, Instant};

use secrecy::ExposeSecret as _;
use service::{nats, roomlog::RoomLog, stream::ShardStream};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

pub use self::config::Config;
use self::{batch::Source, purge::Purge};
use crate::{db::Database, outbox::Sweeper, sent, storage::Storage};

/// How often what requests left behind is looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(2);
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
    database: Database,
    client: async_nats::Client,
    log: RoomLog,
    storage: Storage,
    shards: Vec<Shard>,
    outbox: Sweeper,
    tidied: Mutex<Option<Instant>>,
}

/// One shard's stream, from both ends.
struct Shard {
    source: Source,
    stream: ShardStream,
    purge: Purge,
}

impl Archive {
    /// Connects, and finds the durable consumers that `provision` made.
    pub async fn connect(config: &Config) -> anyhow::Result<Self> {
        let database =
            Database::connect_limited(config.database.0.expose_secret(), STATEMENT_WITHIN).await?;
        let client = nats::connect(&config.nats, |_| {}).await?;
        let log = RoomLog::new(client.clone(), config.shards);
        let mut shards = Vec::new();
        for shard in config.shards.all() {
            let stream = || ShardStream::new(client.clone(), log.clone(), shard);
            shards.push(Shard {
                source: Source::open(&client, shard).await?,
                stream: stream(),
                purge: Purge::new(stream(), config.replay_window),
            });
        }
        let storage = Storage::connect(&config.storage).await?;
        let (outbox, tidied) = (Sweeper::default(), Mutex::default());
        Ok(Self { database, client, log, storage, shards, outbox, tidied })
    }

    /// Moves one batch of every shard, and sweeps. Returns how many events were moved.
    pub async fn once(&self) -> anyhow::Result<usize> {
        let mut moved = 0;
        for shard in &self.shards {
            moved += shard.source.move_batch(&self.database).await?;
        }
        self.sweep().await?;
        Ok(moved)
    }

    /// All of it, whatever part of it fails; then the first failure.
    async fn sweep(&self) -> anyhow::Result<()> {
        let streams: Vec<&ShardStream> = self.shards.iter().map(|shard| &shard.stream).collect();
        let shards = self.log.shards();
        let swept = self.outbox.sweep(&self.database, &self.log).await.map(|swept| {
            metrics::counter!("archive_outbox_swept_total").increment(swept);
        });
        let archived =
            self.shards.iter().map(|shard| shard.source.archived_until()).min().flatten();
        let results = [
            swept,
            uploads::remove_incomplete(&self.database).await,
            objects::remove(&self.database, &self.storage).await,
            rooms::remove(&self.database, shards, &streams).await,
            accounts::erase(&self.database, &self.log, shards, archived).await,
            self.purge().await,
            self.tidy().await,
        ];
        results.into_iter().collect()
    }

    async fn purge(&self) -> anyhow::Result<()> {
        for shard in &self.shards {
            shard.purge.run(&self.database, shard.source.acknowledged()).await?;
        }
        Ok(())
    }

    async fn tidy(&self) -> anyhow::Result<()> {
        let mut tidied = self.tidied.lock().await;
        if tidied.is_none_or(|at| at.elapsed() >= TIDY_EVERY) {
            accounts::tidy(&self.database).await?;
            *tidied = Some(Instant::now());
        }
        Ok(())
    }

    /// Goes on until `shutdown`, and finishes the batch it has.
    pub async fn follow(self, shutdown: CancellationToken) {
        let moving = self.shards.iter().map(|shard| self.follow_source(&shard.source, &shutdown));
        let late = async {
            shutdown.cancelled().await;
            tokio::time::sleep(FINISH_WITHIN).await;
        };
        tokio::select! {
            _ = futures_util::future::join_all(moving) => {}
            () = self.follow_sweeps() => {}
            () = self.answer_sent(&shutdown) => {}
            () = late => tracing::warn!("a batch did not finish in time; it comes again"),
        }
        self.database.close().await;
    }

    /// Never returns: the batch that was begun goes on after `shutdown`.
    async fn answer_sent(&self, shutdown: &CancellationToken) {
        let (client, database) = (self.client.clone(), self.database.clone());
        sent::answer(client, database, self.log.clone(), shutdown.clone()).await;
        std::future::pending().await
    }

    async fn follow_source(&self, source: &Source, shutdown: &CancellationToken) {
        while !shutdown.is_cancelled() {
            if let Err(error) = source.move_batch(&self.database).await {
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
}

/// Connects and goes on until `shutdown`.
pub async fn follow(config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    Archive::connect(&config).await?.follow(shutdown).await;
    Ok(())
}

/// Connects, moves one batch, and ends.
pub async fn once(config: Config) -> anyhow::Result<usize> {
    Archive::connect(&config).await?.once().await
}
