//! Configuration of the release step.

use protocol::subject::Shards;
use service::{
    env::{Env, List},
    nats::{NatsConfig, shards_from_env},
};
use store::config::{DatabaseConfig, StorageConfig};

/// Default of `STREAM_MAX_BYTES`: less than the 16 GB that infra/nats/nats.conf allows for all streams together.
const STREAM_BYTES: i64 = 8 * 1024 * 1024 * 1024;

/// JetStream accepts up to five. An even number survives no more failures than the odd one below it.
const REPLICAS: [usize; 3] = [1, 3, 5];

/// What can be provisioned separately, where another tool manages the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// The schema.
    Database,
    /// Streams, consumers, key-value buckets.
    Nats,
    /// The S3 bucket, its CORS rules and its lifecycle rules.
    Storage,
}

/// The parts to provision.
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) database: Option<DatabaseConfig>,
    pub(crate) streams: Option<StreamsConfig>,
    pub(crate) bucket: Option<BucketConfig>,
    pub(crate) recovery: Recovery,
}

/// Actions after a restore from a backup. By default none is done, because each may lose events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Recreate a stream that is behind the database, with sequences above those in the database.
    pub advance: bool,
    /// Let the archive read all events of a stream again if the database is behind the stream.
    pub replay: bool,
    /// Replay in any case.
    pub is_asked: bool,
}

#[derive(Debug, Clone)]
pub struct StreamsConfig {
    pub nats: NatsConfig,
    pub shards: Shards,
    /// `STREAM_MAX_BYTES`: size at which a stream rejects new messages. NATS reserves it.
    pub stream_bytes: i64,
    /// `NATS_REPLICAS`: 3 in production.
    pub replicas: usize,
}

#[derive(Debug, Clone)]
pub struct BucketConfig {
    pub storage: StorageConfig,
    /// `ALLOWED_ORIGINS`: pages of these origins may upload to the bucket.
    pub origins: Vec<String>,
}

impl Recovery {
    /// Every action that is necessary, for a single machine without an operator.
    pub const AUTOMATIC: Self = Self { advance: true, replay: true, is_asked: false };
}

impl Config {
    /// Reads the configuration of all parts. Faults are recorded in `env`.
    pub fn from_env(env: &mut Env<'_>) -> Option<Self> {
        Self::of_parts(&[Part::Database, Part::Nats, Part::Storage], env)
    }

    /// Reads the configuration of these parts. Faults are recorded in `env`.
    pub fn of_parts(parts: &[Part], env: &mut Env<'_>) -> Option<Self> {
        // All parts are read before the first `None` is returned, so that all faults are reported together.
        let database = parts.contains(&Part::Database).then(|| DatabaseConfig::from_env(env));
        let streams = parts.contains(&Part::Nats).then(|| StreamsConfig::from_env(env));
        let bucket = parts.contains(&Part::Storage).then(|| BucketConfig::from_env(env));
        if matches!(database, Some(None))
            || matches!(streams, Some(None))
            || matches!(bucket, Some(None))
        {
            return None;
        }
        Some(Self {
            database: database.flatten(),
            streams: streams.flatten(),
            bucket: bucket.flatten(),
            recovery: Recovery::default(),
        })
    }

    /// The same configuration with actions after a restore.
    pub fn recovering(self, recovery: Recovery) -> Self {
        Self { recovery, ..self }
    }
}

impl StreamsConfig {
    fn from_env(env: &mut Env<'_>) -> Option<Self> {
        let nats = NatsConfig::from_env(env, "provision");
        let shards = shards_from_env(env);
        let stream_bytes = env.within("STREAM_MAX_BYTES", 1..=i64::MAX, STREAM_BYTES);
        let replicas = env.or("NATS_REPLICAS", 1);
        if !REPLICAS.contains(&replicas) {
            env.fault("NATS_REPLICAS must be 1, 3 or 5");
        }
        Some(Self { nats: nats?, shards: shards?, stream_bytes, replicas })
    }
}

impl BucketConfig {
    fn from_env(env: &mut Env<'_>) -> Option<Self> {
        let origins = env.or("ALLOWED_ORIGINS", List::default()).0;
        Some(Self { storage: StorageConfig::from_env(env)?, origins })
    }
}
