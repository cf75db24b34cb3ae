//! The thin WebSocket gateway: Socket.IO on one side, NATS on the other, nothing that a restart
//! loses in between.
//!
//! A message's way in: `handshake` → a shard's `receive` ([`ws`], [`packet`], `ClientEvent`) →
//! [`session`] → a shard's `outgoing` → [`bus`]. Its way out: [`bus`] → [`room`] → the shards.

pub mod bus;
mod config;
mod handshake;
mod keys;
pub mod packet;
mod peers;
mod revoked;
pub mod room;
pub mod session;
pub mod shard;
pub mod ws;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::IntoResponse,
    routing::{any, get},
};
use protocol::{Timestamp, subject::Revoked};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

pub use self::config::{Config, KeySource, Limits};
use self::{
    bus::Bus,
    keys::Keys,
    peers::Peers,
    revoked::RevokedSet,
    room::registry::Rooms,
    session::Rules,
    shard::{Command, Running, Shards, Thread},
};

/// A running gateway.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

struct Inner {
    config: Config,
    id: uuid::Uuid,
    bus: Bus,
    keys: Keys,
    shards: Shards,
    draining: AtomicBool,
    running: Mutex<Vec<Running>>,
}

impl Gateway {
    /// Connects to NATS and starts the shards. `shutdown` starts the drain.
    pub async fn start(config: Config, shutdown: CancellationToken) -> anyhow::Result<Self> {
        let id = uuid::Uuid::new_v4();
        let bus = Bus::connect(&config).await?;
        // The gateway goes on serving while it drains; what it listens to ends with it.
        let ended = CancellationToken::new();
        let keys = Keys::start(config.keys.clone(), ended.clone()).await?;
        let (shards, starter) = Shards::new(config.threads);
        let threads = starter.open(&config).await?;
        let peers = Peers::default();
        let rooms = Rooms::new(threads.iter().map(|thread| {
            let (bus, shards, peers) = (thread.bus.clone(), shards.clone(), peers.clone());
            (thread.runtime.clone(), room::Context { bus, shards, peers, gateway: id })
        }));
        let revoked = RevokedSet::default();
        let rules = Arc::new(Rules { limits: config.limits.clone(), revoked: revoked.clone() });
        let run = |thread: Thread| {
            let (bus, keys, rules) = (thread.bus.clone(), keys.clone(), rules.clone());
            thread.run(shard::Context { bus, keys, rules, rooms: rooms.clone() })
        };
        let running = threads.into_iter().map(run).collect();
        watch_revoked(bus.clone(), revoked, shards.clone(), ended.clone());
        let peers_run =
            peers.run(bus.clone(), id, move |gateway| rooms.lost(gateway), ended.clone());
        tokio::spawn(async move {
            if let Err(error) = peers_run.await {
                tracing::error!(%error, "other gateways can no longer be heard");
            }
        });
        let gateway = Self(Arc::new(Inner {
            config,
            id,
            bus,
            keys,
            shards,
            draining: AtomicBool::new(false),
            running: Mutex::new(running),
        }));
        tokio::spawn(gateway.clone().drain_on(shutdown));
        Ok(gateway)
    }

    async fn drain_on(self, shutdown: CancellationToken) {
        shutdown.cancelled().await;
        tracing::info!("draining: sockets are told to move to another gateway");
        self.0.draining.store(true, Ordering::Relaxed);
        let within = self.0.config.drain;
        let deadline = Timestamp::from(Timestamp::now().utc() + within);
        self.0.shards.send_all(|| Command::Drain { deadline, within }).await;
    }

    /// Resolves once the shutdown was asked for and no socket is left.
    pub async fn drained(&self) {
        for shard in self.0.running.lock().await.iter_mut() {
            shard.drained().await;
        }
        peers::say(&self.0.bus, self.0.id, true).await;
        let _ = self.0.bus.ready().await;
    }

    /// `/socket.io/`, `/healthz` and `/readyz`.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/healthz", get(|| async { Json(serde_json::json!({ "status": "ok" })) }))
            .route("/readyz", get(ready))
            .with_state(self.clone())
            .merge(self.socket_router())
    }

    /// `/socket.io/` alone, for a server that answers the rest itself.
    pub fn socket_router(&self) -> Router {
        Router::new().route("/socket.io/", any(handshake::handle)).with_state(self.clone())
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

/// Revocations that the shards have yet to be told; the watch waits while it is full.
const REVOCATIONS: usize = 1_024;

/// Hears of revocations on the main runtime and tells the shards.
fn watch_revoked(bus: Bus, set: RevokedSet, shards: Shards, ended: CancellationToken) {
    let (tell, mut told) = tokio::sync::mpsc::channel::<Revoked>(REVOCATIONS);
    tokio::spawn(bus.watch_revoked(set, tell, ended));
    tokio::spawn(async move {
        while let Some(revoked) = told.recv().await {
            shards.send_all(|| Command::Revoked(revoked)).await;
        }
    });
}

async fn ready(State(gateway): State<Gateway>) -> impl IntoResponse {
    let nats = gateway.0.bus.ready().await;
    let keys = gateway.0.keys.ready();
    let serving = !gateway.is_draining();
    let status =
        if nats && keys && serving { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(serde_json::json!({ "nats": nats, "keys": keys, "serving": serving })))
}
