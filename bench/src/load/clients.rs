//! Clients that are connected to a server, have joined rooms, send messages and count deliveries.

use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};

use super::{
    connections::{Connections, Received, SendQueue},
    stats::{DeliveryStats, message_text},
    wire_protocol::WireProtocol,
};
use crate::{environment::NATS_PASSWORD, identity::Identity};

/// Number of connections that are established in parallel.
const MAX_CONNECTING: usize = 256;
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(20);

/// Which clients to connect, and their rooms.
pub struct ClientPlan<'a> {
    /// Servers, to which clients are assigned round-robin.
    pub addresses: &'a [SocketAddr],
    pub protocol: WireProtocol,
    pub sockets: usize,
    /// The rooms that the client with this number joins.
    pub rooms_of: &'a dyn Fn(usize) -> Vec<usize>,
    pub rooms: usize,
    /// `after` of every join: the sequence after which missed events are replayed.
    pub after: Option<u64>,
}

struct Member {
    connection: usize,
    rooms: Vec<usize>,
    /// Number of rooms joined so far.
    joined: usize,
}

pub struct Clients {
    connections: Connections,
    protocol: WireProtocol,
    identity: Identity,
    members: Vec<Member>,
    member_by_connection: HashMap<usize, usize>,
    /// Timestamps of unacknowledged messages by acknowledgement id.
    sent: HashMap<u64, u64>,
    next_ack: u64,
    after: Option<u64>,
    pub stats: DeliveryStats,
}

/// The acknowledgement ids of joins are lower.
const FIRST_SEND_ACK: u64 = 1_000;

impl Clients {
    /// Connects all clients and waits until they have joined their rooms.
    pub fn connect(plan: &ClientPlan<'_>, identity: &Identity) -> anyhow::Result<Self> {
        let mut clients = Self {
            connections: Connections::new()?,
            protocol: plan.protocol,
            identity: identity.clone(),
            members: Vec::with_capacity(plan.sockets),
            member_by_connection: HashMap::new(),
            sent: HashMap::new(),
            next_ack: FIRST_SEND_ACK,
            after: plan.after,
            stats: DeliveryStats::new(plan.rooms),
        };
        let mut progress = Instant::now();
        let mut ready = 0;
        while ready < plan.sockets {
            while clients.members.len() < plan.sockets
                && clients.members.len() - ready < MAX_CONNECTING
            {
                let number = clients.members.len();
                let address = plan.addresses[number % plan.addresses.len()];
                let connection = clients.connections.connect(address, plan.protocol)?;
                clients.member_by_connection.insert(connection, number);
                let rooms = (plan.rooms_of)(number);
                clients.members.push(Member { connection, rooms, joined: 0 });
            }
            clients.poll(Duration::from_millis(100))?;
            let now = clients.members.iter().filter(|m| m.joined == m.rooms.len().max(1)).count();
            if now > ready {
                progress = Instant::now();
            }
            ensure!(progress.elapsed() < PROGRESS_TIMEOUT, "{ready} of {} joined", plan.sockets);
            ready = now;
        }
        Ok(clients)
    }

    pub fn size(&self) -> usize {
        self.members.len()
    }

    /// Total bytes received.
    pub fn received(&self) -> u64 {
        self.connections.received
    }

    pub fn disconnect(&mut self) {
        for member in &self.members {
            self.connections.close(member.connection);
        }
    }

    /// Sends a message text of `size` bytes that contains the timestamp `sent_at`.
    pub fn send_message(
        &mut self,
        member: usize,
        room: usize,
        sent_at: u64,
        size: usize,
    ) -> anyhow::Result<()> {
        let text = message_text(sent_at, size);
        let packet = match self.protocol {
            WireProtocol::SocketIo => {
                let ack = self.next_ack;
                self.next_ack += 1;
                self.sent.insert(ack, sent_at);
                let room = self.identity.room(room);
                format!(r#"42{ack}["send-msg",{{"roomId":"{room}","msg":"{text}"}}]"#)
            }
            WireProtocol::Nats => format!("PUB room.{room} {}\r\n{text}\r\n", text.len()),
            WireProtocol::JetStream => {
                let ack = self.next_ack;
                self.next_ack += 1;
                self.sent.insert(ack, sent_at);
                let room = self.identity.room(room);
                let id = format!("NATS/1.0\r\nNats-Msg-Id: bench:{room}:{ack}\r\n\r\n");
                // As long as the event that a gateway publishes.
                let payload = format!(r#"["receive-msg",{{"msg":"{text:-<200}"}}]"#);
                let (head, all) = (id.len(), id.len() + payload.len());
                format!(
                    "HPUB chat.0.in.{room} {INBOX}{member}.{ack} {head} {all}\r\n{id}{payload}\r\n"
                )
            }
        };
        self.connections.send(self.members[member].connection, &packet)
    }

    /// See [`Connections::wake_after`].
    pub fn wake_after(&mut self, wait: Duration) -> anyhow::Result<()> {
        self.connections.wake_after(wait)
    }

    /// See [`Connections::poll`].
    pub fn poll(&mut self, wait: Duration) -> anyhow::Result<()> {
        let Self { connections, identity, members, member_by_connection, sent, stats, .. } = self;
        let (protocol, after) = (self.protocol, self.after);
        connections.poll(wait, |connection, event, send_queue| {
            let number = member_by_connection[&connection];
            let member = &mut members[number];
            let mut handler =
                MemberHandler { number, member, identity, send_queue, sent, stats, after };
            match (protocol, event) {
                (_, Received::Connected) => Ok(()),
                (WireProtocol::SocketIo, Received::Message(text)) => handler.on_socket_io(text),
                (WireProtocol::Nats | WireProtocol::JetStream, Received::Message(text)) => {
                    handler.on_nats(protocol, text)
                }
            }
        })
    }

    /// Polls until `done` returns true. Fails after a timeout.
    pub fn poll_until(
        &mut self,
        mut done: impl FnMut(&DeliveryStats) -> bool,
    ) -> anyhow::Result<()> {
        let began = Instant::now();
        while !done(&self.stats) {
            self.poll(Duration::from_millis(20))?;
            ensure!(
                began.elapsed() < PROGRESS_TIMEOUT,
                "stuck at {} deliveries",
                self.stats.deliveries()
            );
        }
        Ok(())
    }
}

/// Prefix of the reply subjects, which infra/nats/nats.conf prescribes for the user `gateway`.
const INBOX: &str = "_INBOX_gateway.";

/// Handles a message that one member has received.
struct MemberHandler<'a> {
    number: usize,
    member: &'a mut Member,
    identity: &'a Identity,
    send_queue: &'a mut SendQueue,
    sent: &'a mut HashMap<u64, u64>,
    stats: &'a mut DeliveryStats,
    after: Option<u64>,
}

impl MemberHandler<'_> {
    fn on_socket_io(&mut self, text: &[u8]) -> anyhow::Result<()> {
        let connection = self.member.connection;
        match text {
            [b'4', b'2', ..] => {
                if text.starts_with(b"42[\"receive-msg\"") {
                    let room = self.room_of(text);
                    self.stats.on_delivery(self.number, room, text);
                }
            }
            [b'4', b'3', rest @ ..] => self.on_ack(rest)?,
            [b'0', ..] => self.send_queue.push(connection, self.identity.connect(self.number)?),
            [b'4', b'0', ..] if self.member.rooms.is_empty() => self.member.joined = 1,
            [b'4', b'0', ..] => {
                for (ack, room) in self.member.rooms.iter().enumerate() {
                    let join = self.identity.join(ack, self.number, *room, self.after)?;
                    self.send_queue.push(connection, join);
                }
            }
            b"2" => self.send_queue.push(connection, "3"),
            other => bail!("unexpected message: {}", String::from_utf8_lossy(other)),
        }
        Ok(())
    }

    /// Frames are searched only if the member has several rooms.
    fn room_of(&self, text: &[u8]) -> usize {
        match self.member.rooms[..] {
            [room] => room,
            _ => self.identity.room_in(text).unwrap_or(0),
        }
    }

    fn on_ack(&mut self, rest: &[u8]) -> anyhow::Result<()> {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let ack: u64 = std::str::from_utf8(&rest[..digits])?.parse()?;
        let ok = memchr::memmem::find(rest, b"\"ok\":false").is_none();
        if ack < FIRST_SEND_ACK {
            ensure!(ok, "a join was refused: {}", String::from_utf8_lossy(rest));
            self.member.joined += 1;
        } else {
            let sent_at =
                self.sent.remove(&ack).context("an acknowledgement with an unknown id")?;
            self.stats.on_ack(sent_at, ok);
            ensure!(ok, "a send was refused: {}", String::from_utf8_lossy(rest));
        }
        Ok(())
    }

    /// Login and subscriptions of a NATS client.
    fn nats_login(&self, protocol: WireProtocol) -> String {
        let mut login = r#"CONNECT {"verbose":false,"protocol":1,"headers":true"#.to_owned();
        if protocol == WireProtocol::JetStream {
            login += &format!(r#","user":"gateway","pass":"{NATS_PASSWORD}""#);
        }
        login += "}\r\n";
        for room in &self.member.rooms {
            login += &match protocol {
                WireProtocol::JetStream => {
                    let id = self.identity.room(*room);
                    format!("SUB chat.0.out.{id} 1\r\nSUB {INBOX}{}.* 2\r\n", self.number)
                }
                _ => format!("SUB room.{room} 1\r\n"),
            };
        }
        login + "PING\r\n"
    }

    fn on_nats(&mut self, protocol: WireProtocol, text: &[u8]) -> anyhow::Result<()> {
        if let Some(inbox) = text.strip_prefix(b"MSG _INBOX") {
            let ack = inbox.splitn(3, |byte| *byte == b'.').nth(2).context("an unknown inbox")?;
            self.on_ack(ack)?;
        } else if text.starts_with(b"MSG ") || text.starts_with(b"HMSG ") {
            self.stats.on_delivery(self.number, self.member.rooms[0], text);
        } else if text.starts_with(b"INFO ") {
            self.send_queue.push(self.member.connection, self.nats_login(protocol));
        } else if text == b"PONG" {
            self.member.joined = self.member.rooms.len().max(1);
        } else if text == b"PING" {
            self.send_queue.push(self.member.connection, "PONG\r\n");
        } else {
            bail!("unexpected message: {}", String::from_utf8_lossy(text));
        }
        Ok(())
    }
}
