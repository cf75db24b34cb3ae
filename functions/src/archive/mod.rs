//! The event function: moves stored events from JetStream into the database, and sweeps what
//! requests left behind. Repeating any of it changes nothing.

mod batch;
mod store;

use std::time::Duration;

use protocol::subject::Shards;
use secrecy::ExposeSecret as _;
use service::{
    env::Env,
    nats::{self, NatsConfig},
    roomlog::RoomLog,
};
use tokio_util::sync::CancellationToken;

use self::batch::Source;
use crate::{
    config::{self, DatabaseConfig, StorageConfig},
    db::Database,
    outbox,
    storage::Storage,
};

/// How often what requests left behind is looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(2);
/// After a failure; what was not acknowledged comes again by itself.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How long a batch may take to finish after the signal. One that is cut off comes again.
const FINISH_WITHIN: Duration = Duration::from_secs(5);

/// What the archive needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    pub database: DatabaseConfig,
    pub nats: NatsConfig,
    pub shards: Shards,
    pub storage: StorageConfig,
}

impl Config {
    /// Reads everything; faults are in `env`.
    pub fn from_env(env: &mut Env<'_>) -> Option<Self> {
        let database = DatabaseConfig::from_env(env);
        let nats = NatsConfig::from_env(env, "archive");
        let storage = StorageConfig::from_env(env);
        let shards = config::shards(env);
        Some(Self { database: database?, nats: nats?, storage: storage?, shards: shards? })
    }
}

/// A connected archive.
pub struct Archive {
    database: Database,
    log: RoomLog,
    storage: Storage,
    sources: Vec<Source>,
}

impl Archive {
    /// Connects, and finds the durable consumers that `provision` made.
    pub async fn connect(config: &Config) -> anyhow::Result<Self> {
        let database = Database::connect(config.database.0.expose_secret()).await?;
        let client = nats::connect(&config.nats, |_| {}).await?;
        let mut sources = Vec::new();
        for shard in config.shards.all() {
            sources.push(Source::open(&client, shard).await?);
        }
        let log = RoomLog::new(client, config.shards);
        let storage = Storage::connect(&config.storage).await?;
        Ok(Self { database, log, storage, sources })
    }

    /// Moves one batch of every shard, and sweeps. Returns how many events were moved.
    pub async fn once(&self) -> anyhow::Result<usize> {
        let mut moved = 0;
        for source in &self.sources {
            moved += source.move_batch(&self.database).await?;
        }
        self.sweep().await?;
        Ok(moved)
    }

    async fn sweep(&self) -> anyhow::Result<()> {
        let swept = outbox::sweep(&self.database, &self.log).await?;
        metrics::counter!("archive_outbox_swept_total").increment(swept as u64);
        store::remove_doomed(&self.database, &self.storage).await
    }

    /// Goes on until `shutdown`, and finishes the batch it has.
    pub async fn follow(self, shutdown: CancellationToken) {
        let moving = self.sources.iter().map(|source| self.follow_source(source, &shutdown));
        let late = async {
            shutdown.cancelled().await;
            tokio::time::sleep(FINISH_WITHIN).await;
        };
        tokio::select! {
            _ = futures_util::future::join_all(moving) => {}
            () = self.follow_sweeps() => {}
            () = late => tracing::warn!("a batch did not finish in time; it comes again"),
        }
        self.database.close().await;
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
                tracing::warn!(error = format!("{error:#}"), "the outbox cannot be swept now");
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
