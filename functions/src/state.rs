//! What all handlers share.

use std::sync::Arc;

use protocol::token::{Minter, Verifier};
use secrecy::ExposeSecret as _;
use service::{nats, roomlog::RoomLog};
use tokio_util::sync::CancellationToken;

use crate::{
    accounts::Exports, config::Config, db::Database, password::Hasher, searches::Searches, sent,
    storage::Storage,
};

/// Connections and keys; cheap to clone.
#[derive(Clone)]
pub struct State(Arc<Inner>);

/// See [`State`].
pub struct Inner {
    pub config: Config,
    pub database: Database,
    pub log: RoomLog,
    pub nats: async_nats::Client,
    pub storage: Storage,
    pub minter: Minter,
    pub verifier: Verifier,
    pub hasher: Hasher,
    pub exports: Exports,
    pub searches: Searches,
}

impl std::ops::Deref for State {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl State {
    /// As [`Self::open`], and answers gateways that ask what was sent before.
    pub async fn connect(config: Config, shutdown: CancellationToken) -> anyhow::Result<Self> {
        let state = Self::open(config, shutdown.clone()).await?;
        let Inner { nats, database, log, .. } = &*state;
        tokio::spawn(sent::answer(nats.clone(), database.clone(), log.clone(), shutdown));
        Ok(state)
    }

    /// Connects to database, NATS and storage; fails when one of the first two is not there. For a
    /// process that may be frozen between two requests, as AWS Lambda's are: it listens to nothing.
    pub async fn open(config: Config, shutdown: CancellationToken) -> anyhow::Result<Self> {
        let minter = Minter::from_pem(&config.signing_key)?.with_lifetimes(config.lifetimes);
        let verifier = Verifier::new(minter.jwks());
        let database =
            Database::connect_limited(config.database.0.expose_secret(), config.statement_within)
                .await?;
        let nats = nats::connect(&config.nats, |_| {}).await?;
        let log = RoomLog::new(nats.clone(), config.shards);
        let storage = Storage::connect(&config.storage).await?;
        let searches = Searches::new(config.searches_per_user, database.searches_at_once());
        let hasher = Hasher::new(config.hashes_at_once);
        let state = Self(Arc::new(Inner {
            config,
            database,
            log,
            nats,
            storage,
            minter,
            verifier,
            hasher,
            exports: Exports::default(),
            searches,
        }));
        let closing = state.clone();
        tokio::spawn(async move {
            shutdown.cancelled().await;
            closing.database.close().await;
        });
        Ok(state)
    }
}
