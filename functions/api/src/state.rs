//! The state that all handlers share.

use std::{sync::Arc, time::Duration};

use protocol::token::{Minter, Verifier};
use secrecy::ExposeSecret as _;
use service::{nats, roomlog::RoomLog, trace::TraceParent};
use store::{
    Store, Transaction,
    db::{self, Database},
    message_lookup,
    password::Hasher,
    publish_budgets::Budgets,
    search_limiter::SearchLimiter,
    storage::Storage,
    stream_log,
};
use tokio_util::sync::CancellationToken;

use crate::{config::Config, export_slots::ExportSlots};

/// Interval of comparing the streams with the database.
const CHECK_EVERY: Duration = Duration::from_secs(2);

/// Connections, keys and counters. Cheap to clone.
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
    pub searches: SearchLimiter,
    /// Cancelled when the process is about to stop.
    draining: CancellationToken,
}

impl std::ops::Deref for AppState {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl AppState {
    /// Like [`Self::open`], and also answers gateways that look up earlier sends. Fails if the database's schema does
    /// not fit this release.
    pub async fn connect(config: Config, shutdown: CancellationToken) -> anyhow::Result<Self> {
        let state = Self::open(config, shutdown.clone()).await?;
        db::refuse_other_schema(&state.store.database).await?;
        tokio::spawn(message_lookup::answer(state.nats.clone(), state.store.clone(), shutdown));
        Ok(state)
    }

    /// Connects to database, NATS and storage. Fails if the database or NATS cannot be reached. Subscribes to nothing,
    /// because AWS Lambda may freeze the process between two requests.
    pub async fn open(config: Config, shutdown: CancellationToken) -> anyhow::Result<Self> {
        let minter = Minter::from_pem(&config.signing_key)?
            .with_lifetimes(config.lifetimes)
            .with_verification_keys(config.verification_keys.clone());
        let verifier = Verifier::new(minter.jwks());
        let database =
            Database::connect_limited(config.database.0.expose_secret(), config.statement_within)
                .await?;
        let nats = nats::connect(&config.nats, |_| {}).await?;
        let log = RoomLog::new(nats.clone(), config.shards);
        let storage = Storage::connect(&config.storage).await?;
        let searches = SearchLimiter::new(config.searches_per_user, database.searches_at_once());
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
            draining: CancellationToken::new(),
        }));
        state.check_streams().await;
        tokio::spawn(state.clone().watch_streams(shutdown.clone()));
        let closing = state.clone();
        tokio::spawn(async move {
            shutdown.cancelled().await;
            closing.store.database.close().await;
        });
        Ok(state)
    }

    /// Makes `/readyz` report that the process is about to stop. Requests are still answered.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Starts a transaction. Its messages carry the request's trace.
    pub async fn begin(&self, trace: TraceParent) -> sqlx::Result<Transaction> {
        self.store.begin(trace).await
    }

    /// Raises the high-water marks to the database's. A stream below its mark lost messages, and nothing is appended to
    /// it, because it would assign sequence numbers a second time. If a source fails, the earlier marks stay.
    async fn check_streams(&self) {
        let checked = async {
            for shard in self.config.shards.all() {
                let stored = stream_log::stored(&self.store.database, shard).await?;
                self.store.log.high_water().raise(shard, stored.unwrap_or_default());
            }
            anyhow::Ok(self.store.log.look_at_streams().await?)
        };
        if let Err(error) = checked.await {
            tracing::warn!(%error, "the streams could not be compared with the database");
        }
    }

    async fn watch_streams(self, shutdown: CancellationToken) {
        while shutdown.run_until_cancelled(tokio::time::sleep(CHECK_EVERY)).await.is_some() {
            self.check_streams().await;
        }
    }
}
