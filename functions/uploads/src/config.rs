//! Configuration, from environment variables.

use std::time::Duration;

use protocol::subject::Shards;
use service::{
    env::Env,
    nats::{NatsConfig, shards_from_env},
};
use store::config::{DatabaseConfig, StorageConfig};

/// As long as a statement of a request may take by default.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// See `infra/README.md` for the variables.
#[derive(Debug, Clone)]
pub struct Config {
    pub database: DatabaseConfig,
    pub nats: NatsConfig,
    pub shards: Shards,
    pub storage: StorageConfig,
    pub statement_within: Duration,
}

impl Config {
    /// Returns none after recording the faults in `env`.
    pub fn from_env(env: &mut Env<'_>) -> Option<Self> {
        let database = DatabaseConfig::from_env(env);
        // The same rights as the HTTP functions, one of which completes uploads too.
        let nats = NatsConfig::from_env(env, "functions");
        let storage = StorageConfig::from_env(env);
        Some(Self {
            shards: shards_from_env(env)?,
            database: database?,
            nats: nats?,
            storage: storage?,
            statement_within: STATEMENT_TIMEOUT,
        })
    }
}
