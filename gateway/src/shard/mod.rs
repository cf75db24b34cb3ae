//! A shard: one thread that owns its share of the sockets, reads them, and writes all that is ready
//! for a socket at once. Nothing in it is shared, so nothing in it is locked.

mod act;
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

use std::{
    cell::RefCell,
    net::TcpStream,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use protocol::{
    RoomId, Timestamp, UserId,
    code::Refusal,
    event::Done,
    subject::{MemberState, Revoked},
};
use service::{high_water::HighWater, publish::PublishBudgets};
use tokio::{
    runtime::Handle,
    sync::{Notify, mpsc, oneshot},
    task::LocalSet,
};

use self::state::Shard;
pub use self::{
    log::{Batch, BatchBuilder},
    polling::Posting,
};
use crate::{
    admission::{Admission, Admitted},
    bus::Bus,
    config::Config,
    health::Health,
    keys::Keys,
    memory::Budget,
    room::registry::Rooms,
    session::Rules,
    sid::Sid,
    subscriptions::Subscriptions,
};

/// Commands that wait for one shard; who sends more waits.
const INBOX: usize = 4_096;
/// Commands taken before what they brought is written: more would only delay the first.
const TURN: usize = 64;
/// What is done at times of no socket's: commands sent again, the drain's end, gauges.
const TICK: Duration = Duration::from_millis(500);

/// A socket of a shard. The generation tells it from an earlier one at the same index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketId {
    pub index: u32,
    pub generation: u32,
}

/// A socket, seen from outside its shard.
#[derive(Debug, Clone, Copy)]
pub struct SocketRef {
    pub shard: usize,
    pub id: SocketId,
}

/// What a new socket comes with.
#[derive(Debug)]
pub struct Opening {
    /// Counts it among its address's sockets.
    pub admitted: Option<Admitted>,
    /// It is there to have its Engine.IO messages echoed.
    pub echo: bool,
}

/// What a shard is told.
#[derive(Debug)]
pub enum Command {
    /// A WebSocket was accepted; `received` came with its handshake.
    Accept { opening: Opening, stream: TcpStream, received: Bytes },
    /// A session over HTTP begins.
    OpenPolling { opening: Opening, respond: oneshot::Sender<Bytes> },
    /// A request waits for packets. Dropped, like the next four, if there is no such session.
    Poll { sid: Sid, respond: oneshot::Sender<Bytes> },
    /// A request wants to bring packets.
    BeginPost { sid: Sid, respond: oneshot::Sender<(Posting, usize)> },
    /// A request brought packets.
    Post { sid: Sid, body: String, posting: Posting, respond: oneshot::Sender<()> },
    /// Whether there is such a session.
    Find { sid: Sid, respond: oneshot::Sender<()> },
    /// A WebSocket wants to take over a session over HTTP.
    Upgrade { sid: Sid, stream: TcpStream, received: Bytes },
    /// A room took the socket in; `replay` is what it missed, in parts of the room's batches.
    Joined {
        socket: SocketId,
        room: RoomId,
        user: UserId,
        /// The newest event before what comes next.
        last: u64,
        replay: Vec<Bytes>,
        ack: Option<u64>,
        done: Done,
    },
    /// A room did not take the socket in.
    NotJoined { socket: SocketId, room: RoomId, ack: Option<u64>, refusal: Refusal },
    /// Frames for all sockets in a room.
    Deliver { room: RoomId, batch: Batch },
    /// A frame for one user's sockets in a room.
    DeliverTo { room: RoomId, user: UserId, frame: Bytes },
    /// What a user is in a room has changed.
    Member { room: RoomId, user: UserId, state: MemberState },
    /// Events of a room can no longer be delivered: its sockets are to join again.
    Lag { room: RoomId },
    /// The last frames for all sockets in a room, which was deleted.
    Close { room: RoomId, batch: Batch },
    /// A session or an account is over.
    Revoked(Revoked),
    /// Memberships may have ended unknown to this gateway, and sessions that have shown no token since a moment.
    ProveAgain { shown_before: Option<Instant> },
    /// Tell all sockets to move, then close those that are left.
    Drain { deadline: Timestamp, within: Duration },
}

/// The shards' inboxes.
#[derive(Clone)]
pub struct Shards(Arc<[mpsc::Sender<Command>]>);

/// What the shards' threads are started with, once the inboxes exist.
pub struct Starter(Vec<mpsc::Receiver<Command>>);

/// What a shard needs; all but `bus` is the whole gateway's.
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

impl Shards {
    /// The inboxes of `count` shards.
    pub fn new(count: usize) -> (Self, Starter) {
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..count).map(|_| mpsc::channel(INBOX)).unzip();
        (Self(senders.into()), Starter(receivers))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Sends to one shard, waiting while its inbox is full.
    pub async fn send(&self, shard: usize, command: Command) {
        if let Some(sender) = self.0.get(shard) {
            // A shard ends only with the process.
            let _ = sender.send(command).await;
        }
    }

    /// Sends to all shards.
    pub async fn send_all(&self, command: impl Fn() -> Command) {
        for shard in 0..self.count() {
            self.send(shard, command()).await;
        }
    }
}

impl Starter {
    /// Starts the threads. Each has its own connection to NATS, so that what a socket sends, its
    /// acknowledgement and what a room brings need no other thread.
    pub async fn open(
        self,
        config: &Config,
        health: &Health,
        high_water: &HighWater,
    ) -> anyhow::Result<Vec<Thread>> {
        let mut threads = Vec::new();
        for (index, inbox) in self.0.into_iter().enumerate() {
            let (health, high_water) = (health.clone(), high_water.clone());
            threads.push(Thread::start(index, inbox, config.clone(), health, high_water).await?);
        }
        Ok(threads)
    }
}

/// A shard's thread.
pub struct Thread {
    pub runtime: Handle,
    pub bus: Bus,
    pub subscriptions: Subscriptions,
    context: oneshot::Sender<Context>,
    drained: oneshot::Receiver<()>,
    release: oneshot::Sender<()>,
}

/// A shard that serves. Its thread ends after this is dropped.
pub struct Running {
    drained: oneshot::Receiver<()>,
    _release: oneshot::Sender<()>,
}

impl Thread {
    async fn start(
        index: usize,
        inbox: mpsc::Receiver<Command>,
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
        std::thread::Builder::new().name(format!("shard-{index}")).spawn(move || {
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
async fn run(index: usize, context: Context, mut inbox: mpsc::Receiver<Command>) {
    let flush = Rc::new(Notify::new());
    let shard = Shard::new(index, context, flush.clone());
    let flush_all = flush_each_turn(shard.clone(), flush).map(Ok);
    let health = shard.borrow().context().health.clone();
    tokio::task::spawn_local(health.supervise(format!("the writer of worker {index}"), flush_all));
    let started = shard.borrow().started;
    let depth = metrics::gauge!("gateway_inbox", "shard" => index.to_string());
    let used = metrics::gauge!("gateway_memory_used_bytes");
    let mut tick = tokio::time::interval(TICK);
    let mut turn = Vec::with_capacity(TURN);
    loop {
        let next = shard.borrow().clock.next().map(|next| started.at(next));
        tokio::select! {
            count = inbox.recv_many(&mut turn, TURN) => {
                if count == 0 {
                    return;
                }
                let mut shard = shard.borrow_mut();
                for command in turn.drain(..) {
                    shard.on_command(command);
                }
            }
            () = until(next) => shard.borrow_mut().on_time(),
            _ = tick.tick() => {
                depth.set(inbox.len() as f64);
                used.set(shard.borrow().budget.used() as f64);
                shard.borrow_mut().send_unsent();
            }
        }
        if shard.borrow_mut().is_drained() {
            return;
        }
        // The inbox may never be empty under load; readers and the flush get their turn.
        tokio::task::yield_now().await;
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

/// Runs last in every turn of the thread's scheduler: whatever became ready for a socket in the
/// turn, acknowledgements and rooms' frames alike, leaves in one write.
async fn flush_each_turn(shard: Rc<RefCell<Shard>>, flush: Rc<Notify>) {
    loop {
        flush.notified().await;
        shard.borrow_mut().flush_dirty();
    }
}
