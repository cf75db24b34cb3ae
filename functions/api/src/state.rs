//! The state that all handlers share.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
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
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{config::Config, error::ApiError, export_slots::ExportSlots, keys::Keys};

/// Interval of comparing the streams with the database.
const COMPARE_EVERY: Duration = Duration::from_secs(2);
/// Time limit of a comparison. A connection that the network dropped would delay it for longer.
const COMPARE_WITHIN: Duration = Duration::from_secs(5);
/// How long a server or a request waits for the first connections. Longer than a connection takes, and short enough
/// that a request with the time limit of a database connection after it is answered in time.
const START_WITHIN: Duration = Duration::from_secs(3);

/// Connections, keys and counters. Cheap to clone.
#[derive(Clone)]
pub struct AppState(Arc<Inner>);

/// See [`AppState`].
pub struct Inner {
    pub config: Config,
    pub store: Store,
    pub nats: async_nats::Client,
    storage: Option<Storage>,
    pub keys: Keys,
    pub hasher: Hasher,
    pub budgets: Budgets,
    pub export_slots: ExportSlots,
    pub searches: SearchLimiter,
    /// When the streams were compared with the database last.
    compared_at: Mutex<Option<Instant>>,
    /// Cancelled when the streams were compared with the database for the first time.
    compared: CancellationToken,
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
    /// Like [`Self::open`], and keeps comparing the streams and answering gateways that look up earlier sends. Waits
    /// for the connections for a limited time, so that a server usually begins ready. Fails if the database's schema
    /// does not fit this release.
    pub async fn connect(config: Config, shutdown: CancellationToken) -> anyhow::Result<Self> {
        let state = Self::open(config, shutdown.clone()).await?;
        db::refuse_other_schema(&state.store.database).await?;
        tokio::spawn(state.clone().keep_comparing(shutdown.clone()));
        state.first_comparison().await;
        tokio::spawn(message_lookup::answer(state.nats.clone(), state.store.clone(), shutdown));
        Ok(state)
    }

    /// Begins to connect to NATS, and connects to the database and the storage at their first use: requests are
    /// answered 503 while one of them is away. Does nothing in the background, because AWS Lambda may freeze the
    /// process between two requests.
    pub async fn open(config: Config, shutdown: CancellationToken) -> anyhow::Result<Self> {
        let keys = Keys::new(&config)?;
        let database = Database::open(&config.database, config.statement_within)?;
        let nats = nats::connect_in_background(&config.nats, |_| {}).await?;
        let log = RoomLog::new(nats.clone(), config.shards);
        let storage = config.storage.as_ref().map(Storage::new).transpose()?;
        let searches = SearchLimiter::new(config.searches_per_user, database.searches_at_once());
        let hasher = Hasher::new(config.hashes_at_once);
        let shared = config.shared_budgets.clone();
        let budgets = Budgets::new(database.clone(), config.publish, shared, config.new_rooms);
        let state = Self(Arc::new(Inner {
            config,
            store: Store { database, log },
            nats,
            storage,
            keys,
            hasher,
            budgets,
            export_slots: ExportSlots::default(),
            searches,
            compared_at: Mutex::default(),
            compared: CancellationToken::new(),
            draining: CancellationToken::new(),
        }));
        let closing = state.clone();
        tokio::spawn(async move {
            shutdown.cancelled().await;
            closing.store.database.close().await;
        });
        Ok(state)
    }

    /// The object storage. Fails in a function whose [`crate::config::Needs`] have no storage.
    pub fn storage(&self) -> Result<&Storage, ApiError> {
        let missing = || ApiError::Internal(anyhow::anyhow!("this function has no storage"));
        self.storage.as_ref().ok_or_else(missing)
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

    /// Waits until the streams were compared with the database for the first time, or that failed, for a limited time.
    /// Before, a request could append to a stream that lost messages.
    async fn first_comparison(&self) {
        let _ = timeout(START_WITHIN, self.compared.cancelled()).await;
    }

    /// Raises the high-water marks to the database's. A stream below its mark lost messages, and nothing is appended to
    /// it, because it would assign sequence numbers a second time. If a source fails, the earlier marks stay.
    pub async fn compare_streams(&self) {
        *self.compared_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        let compared = async {
            for shard in self.config.shards.all() {
                let stored = stream_log::stored(&self.store.database, shard).await?;
                self.store.log.high_water().raise(shard, stored.unwrap_or_default());
            }
            anyhow::Ok(self.store.log.look_at_streams().await?)
        };
        let compared = timeout(COMPARE_WITHIN, compared).await;
        if let Err(error) = compared.map_err(anyhow::Error::from).flatten() {
            tracing::warn!(%error, "the streams could not be compared with the database");
        }
        self.compared.cancel();
    }

    /// [`Self::compare_streams`], if the last comparison is older than its interval.
    pub async fn compare_streams_if_due(&self) {
        let at = *self.compared_at.lock().unwrap_or_else(PoisonError::into_inner);
        if at.is_none_or(|at| at.elapsed() >= COMPARE_EVERY) {
            self.compare_streams().await;
        }
    }

    async fn keep_comparing(self, shutdown: CancellationToken) {
        loop {
            self.compare_streams().await;
            let pause = tokio::time::sleep(COMPARE_EVERY);
            if shutdown.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }
}

/// Middleware: see [`AppState::first_comparison`].
pub async fn wait_for_first_comparison(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Response {
    state.first_comparison().await;
    next.run(request).await
}
