//! What rooms hear from NATS: one connection for all rooms of a worker, which hands each message to
//! its room's mailbox.
//!
//! Why not async-nats: its client gives every subscription a channel of its own, 6.5 KiB each and
//! three for a room, however silent the room is. Here a subscription is an entry of a table.

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
    connect::{Connection, Server, pause, read},
    wire::{Message, Operation},
};
use crate::{
    bus::{Asked, Republished},
    mailbox::{Mail, Mailbox},
};

/// The server is asked for a sign of life this often, and is gone when it gave none twice.
const PING_EVERY: Duration = Duration::from_secs(10);

/// Bytes of answers that wait for the connection to take them; what comes on top is lost.
const OUT_AT_MOST: usize = 1024 * 1024;

/// The subscriptions of a room; a subscription's number is four times the room's and this.
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
    /// Something is to be written.
    queued: Notify,
}

#[derive(Default)]
struct Table {
    rooms: HashMap<u64, Entry>,
    next: u64,
    /// Lines for the server.
    out: Vec<u8>,
    /// `PING`s that were sent on this connection, and who waits for the `PONG` to which of them.
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

/// A room is listened to until this is dropped.
pub struct Listening {
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

    /// Has a room's mailbox get the room's stored and live events. Returns once the server knows.
    pub async fn listen(&self, room: RoomId, mailbox: Mailbox) -> Result<Listening, LogError> {
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
            // While NATS is away, those who gave up would gather here.
            table.waiting.retain(|(_, heard)| !heard.is_closed());
            table.waiting.push((ping, heard));
            number
        };
        let listening = Listening { subscriptions: self.clone(), number };
        self.0.queued.notify_one();
        match timeout(ANSWER_WITHIN, known).await {
            Ok(Ok(())) => Ok(listening),
            _ => Err(LogError::Unavailable("a subscription was not confirmed".into())),
        }
    }

    /// Answers; lost when NATS is away. On this connection, as only who was asked may answer.
    pub fn answer(&self, asked: Asked, online: Vec<UserId>) {
        let answer = PresenceReply { online }.encode();
        let mut table = self.table();
        if table.connected && table.out.len() < OUT_AT_MOST {
            let head = format!("PUB {} {}\r\n", asked.reply, answer.len());
            table.out.extend_from_slice(head.as_bytes());
            table.out.extend_from_slice(&answer);
            table.out.extend_from_slice(b"\r\n");
        }
        drop(table);
        self.0.queued.notify_one();
    }

    /// Rooms hear NATS.
    pub fn is_connected(&self) -> bool {
        self.table().connected
    }

    /// Connects and serves the connection, for ever.
    async fn run(self, config: NatsConfig) {
        let given: Vec<Server> = config.url.split(',').filter_map(Server::parse).collect();
        let mut servers = given.clone();
        let (mut next, mut failures) = (0, 0);
        while let Some(server) = servers.get(next % servers.len().max(1)).cloned() {
            tokio::time::sleep(pause(failures)).await;
            let ended = match server.connect(&config).await {
                Ok(connection) => {
                    failures = 0;
                    servers = given.clone();
                    let discovered = connection.info.connect_urls.iter();
                    servers.extend(discovered.filter_map(|url| server.beside(url)));
                    self.serve(connection).await
                }
                Err(error) => Err(error),
            };
            if let Err(error) = ended {
                tracing::warn!(%error, "rooms do not hear NATS; connecting again");
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
                        tracing::error!(%error, "NATS does not let rooms listen");
                    }
                    Operation::Error(error) => return Err(io::Error::other(error.to_owned())),
                    Operation::Info(_) | Operation::Ok => {}
                }
            }
            let out = std::mem::take(&mut self.table().out);
            if !out.is_empty() {
                // A server that is gone without a word takes nothing, and no sign of life is waited for meanwhile.
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

    /// A new connection knows of nothing, and what was published in between was missed.
    fn subscribe_all(&self) {
        let mut table = self.table();
        let Table { rooms, out, .. } = &mut *table;
        out.clear();
        for (number, entry) in rooms {
            entry.subscribe(*number, self.0.shards, out);
            entry.mailbox.miss();
        }
        (table.connected, table.pings, table.pongs) = (true, 0, 0);
        // Whoever waited for the old connection waits for this one.
        let ping = table.ping();
        table.waiting.iter_mut().for_each(|(waits_for, _)| *waits_for = ping);
    }

    fn on_message(&self, message: Message<'_>) {
        let found = self
            .table()
            .rooms
            .get(&(message.sid / KINDS))
            .map(|entry| (entry.room, entry.mailbox.clone()));
        // The room may have ended in this moment.
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
            // Whoever waited may have given up.
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

impl Listening {
    /// Has the mailbox also get questions of who is online.
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

impl Drop for Listening {
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

/// An event that the room's stream stored on the room's subject. Whatever else comes was sent by another gateway, which may
/// not publish there, but can name the subject as the reply to a request: see infra/nats/nats.conf.
fn republished(shards: Shards, room: RoomId, message: &Message<'_>) -> Option<Mail> {
    let is_stored = message.header("Nats-Stream") == Some(&shards.of(room).stream())
        && message.header("Nats-Subject") == Some(&subject::stored(shards, room));
    let number = |name| message.header(name)?.parse().ok();
    let numbers = number("Nats-Sequence").zip(number("Nats-Last-Sequence"));
    let Some((seq, prev)) = numbers.filter(|_| is_stored) else {
        tracing::error!(%room, "a message that the stream did not republish");
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
