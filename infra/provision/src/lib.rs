//! The release step: brings database, NATS and storage to what this version needs. Repeating it
//! changes nothing. Servers never do this at their start.

mod bucket;
mod streams;

use functions::{
    config::{DatabaseConfig, StorageConfig, shards},
    db::{self, Database},
    storage::Storage,
};
use protocol::subject::Shards;
use secrecy::ExposeSecret as _;
use service::{
    env::{Env, List},
    nats::{self, NatsConfig},
};

/// What there is to provision.
#[derive(Debug, Clone)]
pub struct Config {
    pub database: DatabaseConfig,
    pub nats: NatsConfig,
    pub shards: Shards,
    pub storage: StorageConfig,
    /// `ALLOWED_ORIGINS`: pages of these origins may upload to the bucket.
    pub origins: Vec<String>,
    /// `STREAM_MAX_BYTES`: what a stream may hold before it takes no more. NATS reserves it.
    pub stream_bytes: i64,
    /// `NATS_REPLICAS`: 3 in production.
    pub replicas: usize,
}

/// Below the 16 GB that infra/nats/nats.conf lets all streams take together.
const STREAM_BYTES: i64 = 8 * 1024 * 1024 * 1024;

impl Config {
    /// Reads everything; faults are in `env`.
    pub fn from_env(env: &mut Env<'_>) -> Option<Self> {
        let database = DatabaseConfig::from_env(env);
        let nats = NatsConfig::from_env(env, "provision");
        let storage = StorageConfig::from_env(env);
        let shards = shards(env);
        Some(Self {
            origins: env.or("ALLOWED_ORIGINS", List::default()).0,
            stream_bytes: env.or("STREAM_MAX_BYTES", STREAM_BYTES),
            replicas: env.or("NATS_REPLICAS", 1),
            database: database?,
            nats: nats?,
            storage: storage?,
            shards: shards?,
        })
    }
}

/// What became of one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Created,
    Unchanged,
    Updated,
    /// The storage has no such feature; whoever runs it sets what is needed there.
    Unsupported,
}

impl Outcome {
    /// By how it was before, if it was, and how it is now.
    fn of<T: PartialEq>(before: Option<&T>, now: &T) -> Self {
        match before {
            None => Self::Created,
            Some(before) if before == now => Self::Unchanged,
            Some(_) => Self::Updated,
        }
    }
}

/// One line per thing.
fn report(thing: &str, outcome: Outcome) {
    match outcome {
        Outcome::Created => tracing::info!("{thing}: created"),
        Outcome::Unchanged => tracing::info!("{thing}: unchanged"),
        Outcome::Updated => tracing::info!("{thing}: updated"),
        Outcome::Unsupported => tracing::warn!("{thing}: this storage has none; set it there"),
    }
}

/// Does all of it, in the order in which parts need each other.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let database = Database::connect(config.database.0.expose_secret()).await?;
    let (before, now) = db::migrate(&database).await?;
    report("schema", Outcome::of(Some(before).filter(|before| *before > 0).as_ref(), &now));
    database.close().await;
    let client = nats::connect(&config.nats, |_| {}).await?;
    streams::provision(&client, &config).await?;
    let storage = Storage::connect(&config.storage).await?;
    bucket::provision(&storage, &config.origins).await
}
