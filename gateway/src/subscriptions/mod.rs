//! The rooms' subscriptions to NATS: one connection per worker, which passes each message to its room's
//! mailbox.
//!
//! Why not async-nats: its client allocates a channel per subscription, 6.5 KiB each and three per room,
//! even for a silent room. Here a subscription is an entry of a table.

mod connect;
mod wire;

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use protocol::{
    RoomId, UserId,
    presence::{PresenceQuery, PresenceReply},
    stored::Position,
    subject::{self, Shards},
};
use service::{
    nats::{ANSWER_WITHIN, NatsConfig},
    roomlog::LogError,
};
use tokio::{
    io::AsyncWriteExt as _,
    sync::{Notify, oneshot},
    time::{Instant, timeout},
};

use self::{
    connect::{Connection, Server, backoff, read},
    wire::{Message, Operation},
};
use crate::{
    bus::{Asked, Republished},
    mailbox::{Mail, Mailbox},
};

/// How often the server is pinged. It counts as gone after two pings without an answer.
const PING_EVERY: Duration = Duration::from_secs(10);

/// Bytes of answers that wait to be sent; further answers are dropped.
const MAX_OUT_BYTES: usize = 1024 * 1024;

/// The kinds of a room's subscriptions. The id of a subscription is [`KINDS`] times the room's number plus
/// the kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Stored = 0,
    Ephemeral = 1,
    Questions = 2,
}

const KINDS: u64 = 4;

/// See the module. Clones share it.
#[derive(Clone)]
pub struct Subscriptions(Arc<Inner>);

struct Inner {
    shards: Shards,
    table: Mutex<Table>,
    /// Wakes the connection's task: there is something to write.
    queued: Notify,
}

#[derive(Default)]
struct Table {
    rooms: HashMap<u64, Entry>,
    next: u64,
    /// Lines for the server.
    out: Vec<u8>,
    /// `PING`s sent and `PONG`s received on this connection, and the tasks that wait for the `PONG` to a
    /// certain `PING`.
    pings: u64,
    pongs: u64,
    waiting: Vec<(u64, oneshot::Sender<()>)>,
    connected: bool,
}

struct Entry {
    room: RoomId,
    mailbox: Mailbox,
    questions: bool,
}

/// The subscriptions of a room, which end when this is dropped.
pub struct RoomSubscription {
    subscriptions: Subscriptions,
    number: u64,
}

impl Subscriptions {
    /// Connects in the background, and again whenever the connection breaks, while the runtime lives.
    pub fn start(config: NatsConfig, shards: Shards) -> Self {
        let inner = Inner { shards, table: Mutex::default(), queued: Notify::new() };
        let subscriptions = Self(Arc::new(inner));
        tokio::spawn(subscriptions.clone().run(config));
        subscriptions
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Subscribes to a room's stored and ephemeral events. Returns once the server has confirmed it.
    pub async fn subscribe(
        &self,
        room: RoomId,
        mailbox: Mailbox,
    ) -> Result<RoomSubscription, LogError> {
        let (heard, known) = oneshot::channel();
        let number = {
            let mut table = self.table();
            let number = table.next;
            table.next += 1;
            let entry = Entry { room, mailbox, questions: false };
            if table.connected {
                entry.subscribe(number, self.0.shards, &mut table.out);
            }
            table.rooms.insert(number, entry);
            let ping = table.ping();
            // Those who gave up would accumulate here while NATS is unreachable.
            table.waiting.retain(|(_, heard)| !heard.is_closed());
            table.waiting.push((ping, heard));
            number
        };
        let listening = RoomSubscription { subscriptions: self.clone(), number };
        self.0.queued.notify_one();
        match timeout(ANSWER_WITHIN, known).await {
            Ok(Ok(())) => Ok(listening),
            _ => Err(LogError::Unavailable("a subscription was not confirmed".into())),
        }
    }

    /// Answers a question; lost while NATS is unreachable. On this connection, because only the receiver of a
    /// request may answer it.
    pub fn answer(&self, asked: Asked, online: Vec<UserId>) {
        let answer = PresenceReply { online }.encode();
        let mut table = self.table();
        if table.connected && table.out.len() < MAX_OUT_BYTES {
            let head = format!("PUB {} {}\r\n", asked.reply, answer.len());
            table.out.extend_from_slice(head.as_bytes());
            table.out.extend_from_slice(&answer);
            table.out.extend_from_slice(b"\r\n");
        }
        drop(table);
        self.0.queued.notify_one();
    }

    /// Whether the connection works.
    pub fn is_connected(&self) -> bool {
        self.table().connected
    }

    /// Connects, and reconnects for ever.
    async fn run(self, config: NatsConfig) {
        let given: Vec<Server> = config.url.split(',').filter_map(Server::parse).collect();
        let mut servers = given.clone();
        let (mut next, mut failures) = (0, 0);
        while let Some(server) = servers.get(next % servers.len().max(1)).cloned() {
            tokio::time::sleep(backoff(failures)).await;
            let ended = match server.connect(&config).await {
                Ok(connection) => {
                    failures = 0;
                    servers = given.clone();
                    let discovered = connection.info.connect_urls.iter();
                    servers.extend(discovered.filter_map(|url| server.peer(url)));
                    self.serve(connection).await
                }
                Err(error) => Err(error),
            };
            if let Err(error) = ended {
                tracing::warn!(%error, "the rooms' connection to NATS broke; reconnecting");
            }
            self.table().connected = false;
            (next, failures) = (next + 1, failures + 1);
        }
        tracing::error!("NATS_URL names no server");
    }

    async fn serve(&self, connection: Connection) -> io::Result<()> {
        let Connection { mut stream, mut decoder, .. } = connection;
        self.subscribe_all();
        let mut tick = tokio::time::interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        loop {
            while let Some(operation) = decoder.operation().map_err(io::Error::other)? {
                match operation {
                    Operation::Message(message) => self.on_message(message),
                    Operation::Ping => self.table().out.extend_from_slice(b"PONG\r\n"),
                    Operation::Pong => self.table().on_pong(),
                    Operation::Error(error) if error.contains("Permissions Violation") => {
                        tracing::error!(%error, "NATS refused a subscription or an answer of a room");
                    }
                    Operation::Error(error) => return Err(io::Error::other(error.to_owned())),
                    Operation::Info(_) | Operation::Ok => {}
                }
            }
            let out = std::mem::take(&mut self.table().out);
            if !out.is_empty() {
                // A server that vanished takes nothing, and pongs are not awaited meanwhile.
                timeout(PING_EVERY, stream.write_all(&out)).await??;
            }
            tokio::select! {
                more = read(&mut stream, &mut decoder) => more?,
                () = self.0.queued.notified() => {}
                _ = tick.tick() => {
                    let mut table = self.table();
                    if table.pings > table.pongs + 1 {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                    table.ping();
                }
            }
        }
    }

    /// Subscribes all rooms on a new connection. What was published since the old one broke was missed.
    fn subscribe_all(&self) {
        let mut table = self.table();
        let Table { rooms, out, .. } = &mut *table;
        out.clear();
        for (number, entry) in rooms {
            entry.subscribe(*number, self.0.shards, out);
            entry.mailbox.mark_missed();
        }
        (table.connected, table.pings, table.pongs) = (true, 0, 0);
        // Those who waited for the old connection now wait for this one.
        let ping = table.ping();
        table.waiting.iter_mut().for_each(|(waits_for, _)| *waits_for = ping);
    }

    fn on_message(&self, message: Message<'_>) {
        let found = self
            .table()
            .rooms
            .get(&(message.sid / KINDS))
            .map(|entry| (entry.room, entry.mailbox.clone()));
        // The room may have just ended.
        let Some((room, mailbox)) = found else { return };
        let mail = match message.sid % KINDS {
            stored if stored == Kind::Stored as u64 => republished(self.0.shards, room, &message),
            ephemeral if ephemeral == Kind::Ephemeral as u64 => {
                Some(Mail::Ephemeral(Bytes::copy_from_slice(message.payload)))
            }
            _ => asked(room, &message),
        };
        if let Some(mail) = mail {
            mailbox.message(mail);
        }
    }
}

impl Table {
    fn ping(&mut self) -> u64 {
        if self.connected {
            self.out.extend_from_slice(b"PING\r\n");
            self.pings += 1;
        }
        self.pings
    }

    fn on_pong(&mut self) {
        self.pongs += 1;
        for (_, heard) in self.waiting.extract_if(.., |(ping, _)| *ping <= self.pongs) {
            // The task may have given up.
            let _ = heard.send(());
        }
    }
}

impl Entry {
    fn subscribe(&self, number: u64, shards: Shards, out: &mut Vec<u8>) {
        let stored = subject::republished(shards, self.room);
        subscribe(out, &stored, number, Kind::Stored);
        subscribe(out, &subject::live(self.room), number, Kind::Ephemeral);
        if self.questions {
            subscribe(out, &subject::online(self.room), number, Kind::Questions);
        }
    }
}

fn subscribe(out: &mut Vec<u8>, subject: &str, number: u64, kind: Kind) {
    let sid = number * KINDS + kind as u64;
    out.extend_from_slice(format!("SUB {subject} {sid}\r\n").as_bytes());
}

impl RoomSubscription {
    /// Subscribes also to questions about who is online.
    pub fn answer_questions(&self) {
        let mut table = self.subscriptions.table();
        let Table { rooms, out, connected, .. } = &mut *table;
        if let Some(entry) = rooms.get_mut(&self.number) {
            entry.questions = true;
            if *connected {
                subscribe(out, &subject::online(entry.room), self.number, Kind::Questions);
            }
        }
        drop(table);
        self.subscriptions.0.queued.notify_one();
    }
}

impl Drop for RoomSubscription {
    fn drop(&mut self) {
        let mut table = self.subscriptions.table();
        let Some(entry) = table.rooms.remove(&self.number) else { return };
        if table.connected {
            let kinds = [Kind::Stored, Kind::Ephemeral, Kind::Questions];
            for kind in &kinds[..if entry.questions { 3 } else { 2 }] {
                let sid = self.number * KINDS + *kind as u64;
                table.out.extend_from_slice(format!("UNSUB {sid}\r\n").as_bytes());
            }
        }
        drop(table);
        self.subscriptions.0.queued.notify_one();
    }
}

/// A stored event that the room's stream republished. Any other message comes from another gateway, which may
/// not publish there but can name the subject as the reply subject of a request: see infra/nats/nats.conf.
fn republished(shards: Shards, room: RoomId, message: &Message<'_>) -> Option<Mail> {
    let is_stored = message.header("Nats-Stream") == Some(&shards.of(room).stream())
        && message.header("Nats-Subject") == Some(&subject::stored(shards, room));
    let number = |name| message.header(name)?.parse().ok();
    let numbers = number("Nats-Sequence").zip(number("Nats-Last-Sequence"));
    let Some((seq, prev)) = numbers.filter(|_| is_stored) else {
        tracing::error!(%room, "dropped a message that the stream did not republish");
        return None;
    };
    let trace = message.header(subject::TRACEPARENT).and_then(|trace| trace.parse().ok());
    let payload = Bytes::copy_from_slice(message.payload);
    Some(Mail::Stored(Republished { position: Position { seq, prev }, payload, trace }))
}

fn asked(room: RoomId, message: &Message<'_>) -> Option<Mail> {
    let question = PresenceQuery::decode(message.payload)
        .inspect_err(|error| tracing::warn!(%room, %error, "a question is not answered"))
        .ok()?;
    Some(Mail::Question(Asked { question, reply: message.reply?.to_owned() }))
}
