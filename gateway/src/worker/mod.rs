//! A worker: one thread that owns its share of the sockets, reads them, and writes all that is ready
//! for a socket at once. Nothing in it is shared, so nothing in it is locked.

mod actions;
mod clock;
mod connection;
mod deliver;
mod echo;
mod log;
mod outbox;
mod outgoing;
mod polling;
mod receive;
mod revoked;
mod socket;
mod state;

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use service::{admission::Admission, high_water::HighWater, publish::PublishBudgets};
use tokio::{
    runtime::Handle,
    sync::{Notify, oneshot},
    task::LocalSet,
};

use self::state::Worker;
use crate::{
    bus::Bus,
    command::WorkerInbox,
    config::Config,
    health::Health,
    keys::Keys,
    memory::Budget,
    room::Rooms,
    session::Rules,
    subscriptions::Subscriptions,
    wire::sid::{SocketId, SocketRef},
};

/// Commands taken before what they brought is written: more would only delay the first.
const TURN: usize = 64;
/// What is done at times of no socket's: commands sent again, the drain's end, gauges.
const TICK: Duration = Duration::from_millis(500);

/// What a worker needs; all but `bus` is the whole gateway's.
pub struct Context {
    pub bus: Bus,
    pub keys: Keys,
    pub rules: Arc<Rules>,
    pub rooms: Rooms,
    pub admission: Admission,
    pub budget: Budget,
    pub health: Health,
    pub publish: PublishBudgets,
    /// See [`Config::conformance_echo`].
    pub conformance_echo: bool,
}

/// Starts one thread per inbox. Each has its own connection to NATS, so that what a socket sends, its
/// acknowledgement and a room's events need no other thread.
pub async fn start_threads(
    inboxes: Vec<WorkerInbox>,
    config: &Config,
    health: &Health,
    high_water: &HighWater,
) -> anyhow::Result<Vec<Thread>> {
    let mut threads = Vec::new();
    for (index, inbox) in inboxes.into_iter().enumerate() {
        let (health, high_water) = (health.clone(), high_water.clone());
        threads.push(Thread::start(index, inbox, config.clone(), health, high_water).await?);
    }
    Ok(threads)
}

/// A worker's thread.
pub struct Thread {
    pub runtime: Handle,
    pub bus: Bus,
    pub subscriptions: Subscriptions,
    context: oneshot::Sender<Context>,
    drained: oneshot::Receiver<()>,
    release: oneshot::Sender<()>,
}

/// A worker that serves. Its thread ends after this is dropped.
pub struct Running {
    drained: oneshot::Receiver<()>,
    _release: oneshot::Sender<()>,
}

impl Thread {
    async fn start(
        index: usize,
        inbox: WorkerInbox,
        config: Config,
        health: Health,
        high_water: HighWater,
    ) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (connected, bus) = oneshot::channel();
        let (context, begin) = oneshot::channel();
        let (ended, drained) = oneshot::channel();
        let (release, released) = oneshot::channel::<()>();
        std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
            LocalSet::new().block_on(&runtime, async move {
                let serve = async {
                    let bus = Bus::connect(&config, high_water).await;
                    let listening =
                        |bus| (bus, Subscriptions::start(config.nats.clone(), config.shards));
                    // Whoever waited for it is gone only when the gateway could not start.
                    let _ = connected.send(bus.map(listening));
                    if let Ok(context) = begin.await {
                        let run = run(index, context, inbox).map(Ok);
                        health.supervise(format!("worker {index}"), run).await;
                    }
                    let _ = ended.send(());
                    // Rooms on this thread serve the others' sockets too: until it is let go.
                    std::future::pending::<()>().await;
                };
                tokio::select! {
                    () = serve => {}
                    _ = released => {}
                }
            });
        })?;
        let (bus, subscriptions) = bus.await??;
        Ok(Self { runtime: handle, bus, subscriptions, context, drained, release })
    }

    /// Lets it serve.
    pub fn run(self, context: Context) -> Running {
        // Its thread waits for this.
        let _ = self.context.send(context);
        Running { drained: self.drained, _release: self.release }
    }
}

impl Running {
    /// Resolves once no socket is left; later calls at once.
    pub async fn drained(&mut self) {
        if !self.drained.is_terminated() {
            // Whether it ended as it should, `Health` knows.
            let _ = (&mut self.drained).await;
        }
    }
}

/// Runs until all sockets are drained, or the gateway is dropped.
async fn run(index: usize, context: Context, mut inbox: WorkerInbox) {
    let flush = Rc::new(Notify::new());
    let worker = Worker::new(index, context, flush.clone());
    let flush_all = flush_each_turn(worker.clone(), flush).map(Ok);
    let health = worker.borrow().context().health.clone();
    tokio::task::spawn_local(health.supervise(format!("the writer of worker {index}"), flush_all));
    let started = worker.borrow().started;
    let depth = metrics::gauge!("gateway_inbox", "shard" => index.to_string());
    let used = metrics::gauge!("gateway_memory_used_bytes");
    let mut tick = tokio::time::interval(TICK);
    let mut turn = Vec::with_capacity(TURN);
    loop {
        let next = worker.borrow().clock.next().map(|next| started.at(next));
        tokio::select! {
            count = inbox.recv_many(&mut turn, TURN) => {
                if count == 0 {
                    return;
                }
                let mut worker = worker.borrow_mut();
                for command in turn.drain(..) {
                    worker.on_command(command);
                }
            }
            () = service::time::sleep_until(next) => worker.borrow_mut().on_time(),
            _ = tick.tick() => {
                depth.set(inbox.len() as f64);
                used.set(worker.borrow().budget.used() as f64);
                worker.borrow_mut().send_unsent();
            }
        }
        if worker.borrow_mut().is_drained() {
            return;
        }
        // The inbox may never be empty under load; readers and the flush get their turn.
        tokio::task::yield_now().await;
    }
}

/// Runs last in every turn of the thread's scheduler: whatever became ready for a socket in the
/// turn, acknowledgements and rooms' frames alike, leaves in one write.
async fn flush_each_turn(worker: Rc<RefCell<Worker>>, flush: Rc<Notify>) {
    loop {
        flush.notified().await;
        worker.borrow_mut().flush_dirty();
    }
}
