//! The thin WebSocket gateway: Socket.IO on one side, NATS on the other, nothing that a restart
//! loses in between.
//!
//! A message's way in: `handshake` → a shard's `receive` ([`ws`], [`packet`], `ClientEvent`) →
//! [`session`] → a shard's `outgoing` → [`bus`]. Its way out: [`bus`] → [`room`] → the shards.

pub mod bus;
mod config;
mod handshake;
mod health;
mod keys;
pub mod memory;
pub mod packet;
pub mod payload;
mod peers;
mod rate;
mod refused;
mod revocations;
mod revoked;
pub mod room;
pub mod session;
pub mod shard;
pub mod sid;
mod subscriptions;
pub mod ws;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    http::{Method, StatusCode, header},
    response::IntoResponse,
    routing::{any, get},
};
use futures_util::FutureExt as _;
use protocol::Timestamp;
pub use service::admission;
use service::high_water::HighWater;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tower_http::cors::{AllowOrigin, CorsLayer};

pub use self::config::{Config, KeySource, Limits};
use self::{
    admission::Admission,
    bus::Bus,
    health::Health,
    keys::Keys,
    memory::Budget,
    peers::Peers,
    revocations::Revocations,
    revoked::RevokedSet,
    room::registry::Rooms,
    session::Rules,
    shard::{Command, Running, Shards, Thread},
    subscriptions::Subscriptions,
};

/// A running gateway.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

struct Inner {
    config: Config,
    id: uuid::Uuid,
    bus: Bus,
    keys: Keys,
    revoked: RevokedSet,
    shards: Shards,
    admission: Admission,
    budget: Budget,
    subscriptions: Vec<Subscriptions>,
    draining: AtomicBool,
    running: Mutex<Vec<Running>>,
    health: Health,
}

impl Gateway {
    /// Connects to NATS and starts the shards. `shutdown` starts the drain.
    pub async fn start(config: Config, shutdown: CancellationToken) -> anyhow::Result<Self> {
        let id = uuid::Uuid::new_v4();
        let high_water = HighWater::new(config.shards);
        let bus = Bus::connect(&config, high_water.clone()).await?;
        // The gateway goes on serving while it drains; what it listens to ends with it.
        let ended = CancellationToken::new();
        let keys = Keys::start(config.keys.clone(), ended.clone()).await?;
        let health = Health::default();
        let (shards, starter) = Shards::new(config.threads);
        let threads = starter.open(&config, &health, &high_water).await?;
        let peers = Peers::default();
        let budget = Budget::new(config.memory_budget);
        let subscriptions = threads.iter().map(|thread| thread.subscriptions.clone()).collect();
        let rooms = Rooms::new(threads.iter().map(|thread| {
            let (bus, shards, peers) = (thread.bus.clone(), shards.clone(), peers.clone());
            let (budget, subscriptions) = (budget.clone(), thread.subscriptions.clone());
            let context = room::Context { bus, subscriptions, shards, peers, budget, gateway: id };
            (thread.runtime.clone(), context)
        }));
        let revoked = RevokedSet::default();
        let rules = Arc::new(Rules { limits: config.limits.clone(), revoked: revoked.clone() });
        let admission = Admission::default();
        let run = |thread: Thread| {
            let (bus, keys, rules) = (thread.bus.clone(), keys.clone(), rules.clone());
            let (rooms, admission, budget) = (rooms.clone(), admission.clone(), budget.clone());
            let health = health.clone();
            let conformance_echo = config.conformance_echo;
            thread.run(shard::Context {
                bus,
                keys,
                rules,
                rooms,
                admission,
                budget,
                health,
                publish: config.publish.clone(),
                conformance_echo,
            })
        };
        let running = threads.into_iter().map(run).collect();
        tokio::spawn(bus.clone().watch_streams(ended.clone()));
        let revocations = Revocations::new(
            bus.clone(),
            revoked.clone(),
            shards.clone(),
            rooms.clone(),
            config.revocations_unseen_at_most,
        );
        let revocations = revocations.run(ended.clone()).map(Ok);
        tokio::spawn(health.clone().supervise("the watch of revocations".into(), revocations));
        let peers_run =
            peers.run(bus.clone(), id, move |gateway| rooms.lost(gateway), ended.clone());
        tokio::spawn(health.clone().supervise("the watch of other gateways".into(), peers_run));
        let gateway = Self(Arc::new(Inner {
            config,
            id,
            bus,
            keys,
            revoked,
            shards,
            admission,
            budget,
            subscriptions,
            draining: AtomicBool::new(false),
            running: Mutex::new(running),
            health,
        }));
        tokio::spawn(gateway.clone().drain_on(shutdown));
        Ok(gateway)
    }

    async fn drain_on(self, shutdown: CancellationToken) {
        shutdown.cancelled().await;
        tracing::info!("draining: sockets are told to move to another gateway");
        metrics::gauge!("gateway_draining").set(1.0);
        self.0.draining.store(true, Ordering::Relaxed);
        let within = self.0.config.drain;
        let deadline = Timestamp::from(Timestamp::now().utc() + within);
        self.0.shards.send_all(|| Command::Drain { deadline, within }).await;
    }

    /// Resolves once the shutdown was asked for and no socket is left. An error says what failed
    /// before that: the process must end then, for only a new one can serve all sockets.
    pub async fn drained(&self) -> anyhow::Result<()> {
        let drained = async {
            for shard in self.0.running.lock().await.iter_mut() {
                shard.drained().await;
            }
        };
        tokio::select! {
            // A worker that panics ends its sockets too.
            biased;
            failure = self.failed() => return Err(failure),
            () = drained => {}
        }
        peers::say(&self.0.bus, self.0.id, true).await;
        let _ = self.0.bus.ready().await;
        Ok(())
    }

    /// Waits until a task without which the gateway cannot work has failed.
    pub async fn failed(&self) -> anyhow::Error {
        self.0.health.failed().await
    }

    /// Runs a task whose failure is the gateway's: it is not ready any more, and [`Self::drained`]
    /// says why.
    pub fn supervise(
        &self,
        name: &str,
        task: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        tokio::spawn(self.0.health.clone().supervise(name.to_owned(), task));
    }

    /// `/socket.io/`, `/healthz` and `/readyz`.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/healthz", get(|| async { Json(serde_json::json!({ "status": "ok" })) }))
            .route("/readyz", get(ready))
            .with_state(self.clone())
            .merge(self.socket_router())
    }

    /// `/socket.io/` alone, for a server that answers the rest itself. Needs
    /// [`axum::extract::ConnectInfo`].
    pub fn socket_router(&self) -> Router {
        let mut router = Router::new().route("/socket.io/", any(handshake::handle));
        if self.conformance_echo() {
            tracing::warn!("CONFORMANCE_ECHO: sockets are echoed, nobody can chat");
            router = router.route("/engine.io/", any(handshake::handle));
        }
        router.layer(cors(self.origins())).with_state(self.clone())
    }

    fn limits(&self) -> &Limits {
        &self.0.config.limits
    }

    fn trusted_hops(&self) -> usize {
        self.0.config.trusted_hops
    }

    fn conformance_echo(&self) -> bool {
        self.0.config.conformance_echo
    }

    fn admission(&self) -> &Admission {
        &self.0.admission
    }

    fn budget(&self) -> &Budget {
        &self.0.budget
    }

    fn origins(&self) -> &[String] {
        &self.0.config.origins
    }

    fn shards(&self) -> &Shards {
        &self.0.shards
    }

    fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }
}

/// Long-polling from a page of another origin is a cross-origin request. Its cookie is the load
/// balancer's, for affinity; nothing here goes by cookies.
fn cors(origins: &[String]) -> CorsLayer {
    let origins = origins.to_vec();
    let allowed = AllowOrigin::predicate(move |origin, _| {
        origins.iter().any(|allowed| allowed == "*" || allowed.as_bytes() == origin.as_bytes())
    });
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::CONTENT_TYPE])
        .allow_credentials(true)
        .max_age(CORS_MAX_AGE)
}

/// Preflights are asked again after this.
const CORS_MAX_AGE: Duration = Duration::from_secs(3600);

async fn ready(State(gateway): State<Gateway>) -> impl IntoResponse {
    let listening = gateway.0.subscriptions.iter().all(Subscriptions::is_connected);
    let nats = gateway.0.bus.ready().await && listening;
    let keys = gateway.0.keys.ready();
    let revocations = gateway.0.revoked.is_whole();
    let serving = !gateway.is_draining();
    let workers = gateway.0.health.is_good();
    let is_ready = nats && keys && revocations && serving && workers;
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let parts = serde_json::json!({
        "nats": nats, "keys": keys, "revocations": revocations, "serving": serving,
        "workers": workers
    });
    let soon = [(header::RETRY_AFTER, "1")];
    (status, (!is_ready).then_some(soon), Json(parts))
}
