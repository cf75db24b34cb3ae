//! The database, and NATS for the events and revocations of a change.

use std::time::Duration;

use anyhow::Context as _;
use protocol::subject::Shards;
use service::{
    env::Env,
    nats::{self, NatsConfig, shards_from_env},
    roomlog::RoomLog,
    trace::TraceParent,
};
use store::{
    Store, Transaction,
    admin::{self, FoundRoom, FoundUser},
    config::DatabaseConfig,
    db::{self, Database},
};

/// Time limit of a statement. An operator may wait longer than a request.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);

pub struct Config {
    database: DatabaseConfig,
    nats: NatsConfig,
    shards: Shards,
}

impl Config {
    /// Reads the variables. Faults are recorded in `env`. On NATS it has the role of `functions`, which may revoke.
    pub fn from_env(env: &mut Env<'_>) -> Option<Self> {
        let database = DatabaseConfig::from_env(env);
        let nats = NatsConfig::from_env(env, "functions");
        Some(Self { shards: shards_from_env(env)?, database: database?, nats: nats? })
    }
}

pub struct Connections {
    pub database: Database,
    nats: NatsConfig,
    shards: Shards,
}

impl Connections {
    pub async fn open(config: Config) -> anyhow::Result<Self> {
        let Config { database, nats, shards } = config;
        let database = Database::open(&database, STATEMENT_TIMEOUT)?;
        database.ping().await.context("cannot connect to the database")?;
        db::refuse_other_schema(&database).await?;
        Ok(Self { database, nats, shards })
    }

    /// The database together with NATS. Only changes need NATS.
    pub async fn store(&self) -> anyhow::Result<Store> {
        let client = nats::connect(&self.nats, |_| {}).await?;
        Ok(Store { database: self.database.clone(), log: RoomLog::new(client, self.shards) })
    }

    /// Begins a change. Its events and revocations are published when it is committed.
    pub async fn begin(&self) -> anyhow::Result<Transaction> {
        Ok(self.store().await?.begin(TraceParent::root()).await?)
    }

    pub async fn user(&self, text: &str) -> anyhow::Result<FoundUser> {
        let found = admin::find_user(&self.database, text).await?;
        found.with_context(|| format!("there is no user {text}"))
    }

    pub async fn room(&self, text: &str) -> anyhow::Result<FoundRoom> {
        let found = admin::find_room(&self.database, text).await?;
        found.with_context(|| format!("there is no room {text}"))
    }

    pub async fn close(&self) {
        self.database.close().await;
    }
}
