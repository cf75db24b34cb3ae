//! Configuration of the archive: environment variables only.

use std::time::Duration;

use chrono::TimeDelta;
use protocol::subject::Shards;
use service::{
    env::Env,
    nats::{NatsConfig, shards_from_env},
};
use store::config::{DatabaseConfig, StorageConfig};

/// A day: who was away for longer pages what they missed by HTTP.
const REPLAY_WINDOW_SECONDS: u32 = 24 * 3600;

/// A scheduled pass ends before the next one, a minute later, begins.
const PASS_SECONDS: u32 = 50;

/// What the archive needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    pub database: DatabaseConfig,
    pub nats: NatsConfig,
    pub shards: Shards,
    pub storage: StorageConfig,
    /// `REPLAY_WINDOW_SECONDS`: how long events stay in the stream once they are archived. Within it
    /// gateways replay what a socket missed, and a message can be edited, deleted and reacted to.
    pub replay_window: TimeDelta,
    /// `ARCHIVE_PASS_SECONDS`: how long one pass takes at most, without `--follow` or as a Lambda call;
    /// such a call ends before its own deadline as well.
    pub pass: Duration,
}

impl Config {
    /// Reads everything; faults are in `env`.
    pub fn from_env(env: &mut Env<'_>) -> Option<Self> {
        let database = DatabaseConfig::from_env(env);
        let nats = NatsConfig::from_env(env, "archive");
        let storage = StorageConfig::from_env(env);
        let shards = shards_from_env(env);
        let window = env.or("REPLAY_WINDOW_SECONDS", REPLAY_WINDOW_SECONDS);
        let pass = env.or("ARCHIVE_PASS_SECONDS", PASS_SECONDS);
        if pass == 0 {
            env.fault("ARCHIVE_PASS_SECONDS is at least 1");
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
