//! What all handlers share.

use std::{sync::Arc, time::Duration};

use protocol::token::{Minter, Verifier};
use secrecy::ExposeSecret as _;
use service::{nats, roomlog::RoomLog, trace::TraceParent};
use store::{
    Store, Transaction, budget::Budgets, db::Database, earlier_send, password::Hasher,
    searches::Searches, storage::Storage, stream_log,
};
use tokio_util::sync::CancellationToken;

use crate::{config::Config, export_slots::ExportSlots};

/// How often streams are compared with the database.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Connections and keys; cheap to clone.
#[derive(Clone)]
pub struct AppState(Arc<Inner>);

/// See [`AppState`].
pub struct Inner {
    pub config: Config,
    pub store: Store,
    pub nats: async_nats::Client,
    pub storage: Storage,
    pub minter: Minter,
    pub verifier: Verifier,
    pub hasher: Hasher,
    pub budgets: Budgets,
    pub export_slots: ExportSlots,
    pub searches: Searches,
}

impl std::ops::Deref for AppState {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl AppState {
    /// As [`Self::open`], and answers gateways that ask what was sent before.
    pub async fn connect(config: Config, shutdown: CancellationToken) -> anyhow::Result<Self> {
        let state = Self::open(config, shutdown.clone()).await?;
        tokio::spawn(earlier_send::answer(state.nats.clone(), state.store.clone(), shutdown));
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
        let shared = config.shared_budgets.clone();
        let budgets = Budgets::new(database.clone(), config.publish, shared, config.new_rooms);
        let state = Self(Arc::new(Inner {
            config,
            store: Store { database, log },
            nats,
            storage,
            minter,
            verifier,
            hasher,
            budgets,
            export_slots: ExportSlots::default(),
            searches,
        }));
        state.look_at_streams().await;
        tokio::spawn(state.clone().watch_streams(shutdown.clone()));
        let closing = state.clone();
        tokio::spawn(async move {
            shutdown.cancelled().await;
            closing.store.database.close().await;
        });
        Ok(state)
    }

    /// Starts a transaction whose messages belong to a request's trace.
    pub async fn begin(&self, trace: TraceParent) -> sqlx::Result<Transaction> {
        self.store.begin(trace).await
    }

    /// A stream that is behind the database takes nothing: its seqs were given before. Where one of the
    /// two does not answer, what was known before counts.
    async fn look_at_streams(&self) {
        let looked = async {
            for shard in self.config.shards.all() {
                let stored = stream_log::stored(&self.store.database, shard).await?;
                self.store.log.high_water().raise(shard, stored.unwrap_or_default());
            }
            anyhow::Ok(self.store.log.look_at_streams().await?)
        };
        if let Err(error) = looked.await {
            tracing::warn!(%error, "the streams cannot be compared with the database now");
        }
    }

    async fn watch_streams(self, shutdown: CancellationToken) {
        while shutdown.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            self.look_at_streams().await;
        }
    }
}
