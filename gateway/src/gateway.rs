//! Starts and stops a gateway: creates its parts and connects them.

use std::{
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use axum::Router;
use futures_util::FutureExt as _;
use protocol::Timestamp;
use service::{admission::Admission, high_water::HighWater};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::{
    bus::Bus,
    command::{WorkerCommand, Workers},
    config::Config,
    ephemeral::GatewayId,
    health::Health,
    http::{self, HttpState, Readiness},
    keys::Keys,
    memory::Budget,
    peers::{self, Peers},
    revocations::Revocations,
    revoked::RevokedSet,
    room::{self, Rooms},
    session::Rules,
    worker::{self, Running, Thread},
};

/// Interval of the readiness checks for the metrics. Load balancers check more often.
const READINESS_WATCHED_EVERY: Duration = Duration::from_secs(5);

/// A running gateway. Clones share it.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

struct Inner {
    shared: Shared,
    http: HttpState,
    threads: Mutex<Vec<Running>>,
}

/// Handles that the parts of a gateway share.
#[derive(Clone)]
struct Shared {
    id: GatewayId,
    bus: Bus,
    keys: Keys,
    revoked: RevokedSet,
    admission: Admission,
    budget: Budget,
    health: Health,
    workers: Workers,
    peers: Peers,
}

impl Gateway {
    /// Connects to NATS and starts the workers. `shutdown` starts the drain.
    pub async fn start(config: Config, shutdown: CancellationToken) -> anyhow::Result<Self> {
        let high_water = HighWater::new(config.shards);
        // A token apart from `shutdown`, because the watches continue while the gateway drains.
        let ended = CancellationToken::new();
        let (workers, inboxes) = Workers::new(config.threads);
        let shared = Shared {
            id: GatewayId::new_v4(),
            bus: Bus::connect(&config, high_water.clone()).await?,
            keys: Keys::start(config.keys.clone(), ended.clone()).await?,
            revoked: RevokedSet::default(),
            admission: Admission::default(),
            budget: Budget::new(config.memory_budget),
            health: Health::default(),
            workers,
            peers: Peers::default(),
        };
        let threads = worker::start_threads(inboxes, &config, &shared.health, &high_water).await?;
        let subscriptions = threads.iter().map(|thread| thread.subscriptions.clone()).collect();
        let rooms = shared.rooms(&threads);
        let running = shared.run_workers(threads, &config, &rooms);
        shared.start_watches(rooms, config.revocations_unseen_at_most, &ended);
        let draining = CancellationToken::new();
        let drain = drain_on(shutdown, draining.clone(), shared.workers.clone(), config.drain);
        tokio::spawn(drain);
        let http = HttpState::new(http::Shared {
            workers: shared.workers.clone(),
            admission: shared.admission.clone(),
            budget: shared.budget.clone(),
            limits: config.limits,
            origins: config.origins,
            trusted_hops: config.trusted_hops,
            draining,
            conformance_echo: config.conformance_echo,
            readiness: Readiness {
                bus: shared.bus.clone(),
                subscriptions,
                keys: shared.keys.clone(),
                revoked: shared.revoked.clone(),
                health: shared.health.clone(),
            },
            accepted: AtomicUsize::new(0),
        });
        let watch = ended.clone().run_until_cancelled_owned(watch_readiness(http.clone()));
        tokio::spawn(watch);
        Ok(Self(Arc::new(Inner { shared, http, threads: Mutex::new(running) })))
    }

    /// Resolves once the drain has ended and no socket is left. An error means that a supervised task failed
    /// before that: the process must exit, because only a new process can serve all sockets.
    pub async fn drained(&self) -> anyhow::Result<()> {
        let drained = async {
            for thread in self.0.threads.lock().await.iter_mut() {
                thread.drained().await;
            }
        };
        tokio::select! {
            // A worker that panicked also counts as drained, so the failure is checked first.
            biased;
            failure = self.failed() => return Err(failure),
            () = drained => {}
        }
        let Shared { bus, id, .. } = &self.0.shared;
        peers::announce(bus, *id, true).await;
        // `is_ready` flushes the connection, which sends the last heartbeat.
        let _ = bus.is_ready().await;
        Ok(())
    }

    /// Waits until a supervised task has failed.
    pub async fn failed(&self) -> anyhow::Error {
        self.0.shared.health.failed().await
    }

    /// Runs a task as supervised: its failure ends the gateway.
    pub fn supervise(
        &self,
        name: &str,
        task: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        tokio::spawn(self.0.shared.health.clone().supervise(name.to_owned(), task));
    }

    /// `/socket.io/`, `/healthz` and `/readyz`.
    pub fn router(&self) -> Router {
        http::router(self.0.http.clone())
    }

    /// `/socket.io/` alone, for a server with its own health checks. Needs
    /// [`axum::extract::ConnectInfo`].
    pub fn socket_router(&self) -> Router {
        http::socket_router(self.0.http.clone())
    }
}

impl Shared {
    /// The registry of rooms, whose tasks run on the workers' threads.
    fn rooms(&self, threads: &[Thread]) -> Rooms {
        Rooms::new(threads.iter().map(|thread| {
            let context = room::Context {
                bus: thread.bus.clone(),
                subscriptions: thread.subscriptions.clone(),
                workers: self.workers.clone(),
                peers: self.peers.clone(),
                budget: self.budget.clone(),
                gateway: self.id,
            };
            (thread.runtime.clone(), context)
        }))
    }

    fn run_workers(&self, threads: Vec<Thread>, config: &Config, rooms: &Rooms) -> Vec<Running> {
        let limits = config.limits.clone();
        let rules = Arc::new(Rules { limits, revoked: self.revoked.clone() });
        let run = |thread: Thread| {
            let bus = thread.bus.clone();
            thread.run(worker::Context {
                bus,
                keys: self.keys.clone(),
                rules: rules.clone(),
                rooms: rooms.clone(),
                admission: self.admission.clone(),
                budget: self.budget.clone(),
                health: self.health.clone(),
                publish: config.publish.clone(),
                conformance_echo: config.conformance_echo,
            })
        };
        threads.into_iter().map(run).collect()
    }

    /// Starts the watches of the streams, the bucket of revocations and the other gateways.
    fn start_watches(&self, rooms: Rooms, unseen_at_most: Duration, ended: &CancellationToken) {
        let (bus, health) = (&self.bus, &self.health);
        tokio::spawn(bus.clone().watch_streams(ended.clone()));
        let (set, workers) = (self.revoked.clone(), self.workers.clone());
        let revocations =
            Revocations::new(bus.clone(), set, workers, rooms.clone(), unseen_at_most);
        let revocations = revocations.run(ended.clone()).map(Ok);
        tokio::spawn(health.clone().supervise("the watch of revocations".into(), revocations));
        let on_lost = move |gateway| rooms.gateway_lost(gateway);
        let peers = self.peers.clone().run(bus.clone(), self.id, on_lost, ended.clone());
        tokio::spawn(health.clone().supervise("the watch of other gateways".into(), peers));
    }
}

/// Keeps the metrics of the readiness current.
async fn watch_readiness(http: HttpState) {
    loop {
        http.readiness.check(http.draining.is_cancelled()).await;
        tokio::time::sleep(READINESS_WATCHED_EVERY).await;
    }
}

/// Starts the drain on shutdown: new sockets are refused, and the existing ones are asked to migrate.
async fn drain_on(
    shutdown: CancellationToken,
    draining: CancellationToken,
    workers: Workers,
    within: Duration,
) {
    shutdown.cancelled().await;
    tracing::info!("draining: asking all sockets to migrate to another gateway");
    metrics::gauge!("chat_gateway_draining").set(1.0);
    draining.cancel();
    let deadline = Timestamp::from(Timestamp::now().utc() + within);
    workers.send_all(|| WorkerCommand::Drain { deadline, within }).await;
}
