//! Configuration of the archive, from environment variables.

use std::time::Duration;

use chrono::TimeDelta;
use protocol::subject::Shards;
use service::{
    env::Env,
    nats::{NatsConfig, shards_from_env},
};
use store::config::{DatabaseConfig, StorageConfig};

/// A day. A client that was disconnected for longer reads the missed messages by HTTP.
const REPLAY_WINDOW_SECONDS: u32 = 24 * 3600;

/// Passes are scheduled every minute, and one should end before the next one begins.
const PASS_SECONDS: u32 = 50;

#[derive(Debug, Clone)]
pub struct Config {
    pub database: DatabaseConfig,
    pub nats: NatsConfig,
    pub shards: Shards,
    pub storage: StorageConfig,
    /// `REPLAY_WINDOW_SECONDS`: how long archived events stay in the stream. Within it gateways replay events that a
    /// socket missed, and a message can be edited, deleted and reacted to.
    pub replay_window: TimeDelta,
    /// `ARCHIVE_PASS_SECONDS`: time limit of one pass, without `--follow`. In Lambda the invocation's deadline limits
    /// it instead.
    pub pass: Duration,
}

impl Config {
    /// Returns none after recording the faults in `env`.
    pub fn from_env(env: &mut Env<'_>) -> Option<Self> {
        let database = DatabaseConfig::from_env(env);
        let nats = NatsConfig::from_env(env, "archive");
        let storage = StorageConfig::from_env(env);
        let shards = shards_from_env(env);
        let window = env.or("REPLAY_WINDOW_SECONDS", REPLAY_WINDOW_SECONDS);
        let pass = env.or("ARCHIVE_PASS_SECONDS", PASS_SECONDS);
        if pass == 0 {
            env.fault("ARCHIVE_PASS_SECONDS must be at least 1");
            return None;
        }
        Some(Self {
            pass: Duration::from_secs(pass.into()),
            replay_window: TimeDelta::seconds(window.into()),
            database: database?,
            nats: nats?,
            storage: storage?,
            shards: shards?,
        })
    }
}
