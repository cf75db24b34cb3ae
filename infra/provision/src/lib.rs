//! The release step: brings database, NATS and storage to what this version needs. Repeating it
//! changes nothing. Servers never do this at their start.

mod bucket;
mod sequences;
mod streams;

use protocol::subject::Shards;
use secrecy::ExposeSecret as _;
use service::{
    env::{Env, List},
    nats::{self, NatsConfig},
};
use store::{
    config::{DatabaseConfig, StorageConfig, shards},
    db::{self, Database},
    storage::Storage,
};

/// What can be provisioned by itself, where somebody else looks after the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// The schema.
    Database,
    /// Streams, consumers, key-value buckets.
    Nats,
    /// The bucket, its CORS rules and its lifecycle.
    Storage,
}

/// What there is to provision; a part that is none is left alone.
#[derive(Debug, Clone)]
pub struct Config {
    database: Option<DatabaseConfig>,
    streams: Option<StreamsConfig>,
    storage: Option<(StorageConfig, Vec<String>)>,
    recovery: Recovery,
}

/// What to do after a restore from a backup. Without a word nothing is done that may lose events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Make a stream anew that is behind the database, above what that knows.
    pub advance: bool,
    /// Have the archive take everything again that a stream holds.
    pub replay: bool,
    /// Replay whether or not it looks necessary.
    pub is_asked: bool,
}

impl Recovery {
    /// Whatever is necessary, for one machine that nobody looks after.
    pub const AUTOMATIC: Self = Self { advance: true, replay: true, is_asked: false };
}

#[derive(Debug, Clone)]
struct StreamsConfig {
    nats: NatsConfig,
    shards: Shards,
    /// `STREAM_MAX_BYTES`: what a stream may hold before it takes no more. NATS reserves it.
    stream_bytes: i64,
    /// `NATS_REPLICAS`: 3 in production.
    replicas: usize,
}

/// Below the 16 GB that infra/nats/nats.conf lets all streams take together.
const STREAM_BYTES: i64 = 8 * 1024 * 1024 * 1024;

impl Config {
    /// Reads what all parts need; faults are in `env`.
    pub fn from_env(env: &mut Env<'_>) -> Option<Self> {
        Self::of_parts(&[Part::Database, Part::Nats, Part::Storage], env)
    }

    /// Reads what these parts need; faults are in `env`.
    pub fn of_parts(parts: &[Part], env: &mut Env<'_>) -> Option<Self> {
        // All are read before the first fault ends it, so that all faults are told at once.
        let [database, streams, storage] =
            [Part::Database, Part::Nats, Part::Storage].map(|part| parts.contains(&part));
        let database = database.then(|| DatabaseConfig::from_env(env));
        let streams = streams.then(|| StreamsConfig::from_env(env));
        let storage = storage.then(|| {
            // `ALLOWED_ORIGINS`: pages of these origins may upload to the bucket.
            let origins = env.or("ALLOWED_ORIGINS", List::default()).0;
            Some((StorageConfig::from_env(env)?, origins))
        });
        Some(Self {
            database: flat(database)?,
            streams: flat(streams)?,
            storage: flat(storage)?,
            recovery: Recovery::default(),
        })
    }

    /// The same, after a restore from a backup.
    pub fn recovering(self, recovery: Recovery) -> Self {
        Self { recovery, ..self }
    }
}

/// Fails only where a part is wanted and its configuration is not there.
fn flat<T>(wanted: Option<Option<T>>) -> Option<Option<T>> {
    match wanted {
        None => Some(None),
        Some(read) => read.map(Some),
    }
}

impl StreamsConfig {
    fn from_env(env: &mut Env<'_>) -> Option<Self> {
        let nats = NatsConfig::from_env(env, "provision");
        let shards = shards(env);
        let stream_bytes = env.or("STREAM_MAX_BYTES", STREAM_BYTES);
        let replicas = env.or("NATS_REPLICAS", 1);
        Some(Self { nats: nats?, shards: shards?, stream_bytes, replicas })
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
    let mut connected = None;
    if let Some(database) = &config.database {
        let database = Database::connect(database.0.expose_secret()).await?;
        let (before, now) = db::migrate(&database).await?;
        report("schema", Outcome::of(Some(before).filter(|before| *before > 0).as_ref(), &now));
        if !db::indexes_all_scripts(&database).await? {
            tracing::warn!(
                "the database's locale knows no letters beyond ASCII: searching other scripts reads \
                 whole rooms; make it anew with a locale such as C.UTF-8"
            );
        }
        connected = Some(database);
    }
    if let Some(streams) = &config.streams {
        let client = nats::connect(&streams.nats, |_| {}).await?;
        streams::provision(&client, streams, connected.as_ref(), config.recovery).await?;
    }
    if let Some(database) = connected {
        database.close().await;
    }
    if let Some((storage, origins)) = &config.storage {
        let storage = Storage::connect(storage).await?;
        bucket::provision(&storage, origins).await?;
    }
    Ok(())
}
