//! Members of rooms: connected, joined, and ready to send and count.

use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};

use super::{
    dialect::Dialect,
    pool::{Pool, Seen, Sends},
    tally::{Tally, text},
};
use crate::{chat::PASSWORD, identity::Identity};

/// Connections that are being made at once.
const AT_ONCE: usize = 256;
const STUCK_AFTER: Duration = Duration::from_secs(20);

/// Who is to be where.
pub struct Plan<'a> {
    /// Members are spread over these, one after the other.
    pub addresses: &'a [SocketAddr],
    pub dialect: Dialect,
    pub sockets: usize,
    /// The rooms that a socket of this number joins.
    pub rooms_of: &'a dyn Fn(usize) -> Vec<usize>,
    pub rooms: usize,
    /// The seq that all rejoin after.
    pub after: Option<u64>,
}

struct Member {
    connection: usize,
    rooms: Vec<usize>,
    /// Rooms joined.
    joined: usize,
}

/// See the module.
pub struct Crowd {
    pool: Pool,
    dialect: Dialect,
    identity: Identity,
    members: Vec<Member>,
    /// Members by connection.
    by_connection: HashMap<usize, usize>,
    /// A number for every send of a member, and when it was sent.
    sent: HashMap<u64, u64>,
    next_ack: u64,
    after: Option<u64>,
    pub tally: Tally,
}

/// Acknowledgement ids below this are joins'.
const FIRST_SEND: u64 = 1_000;

impl Crowd {
    /// Connects and joins all.
    pub fn gather(plan: &Plan<'_>, identity: &Identity) -> anyhow::Result<Self> {
        let mut crowd = Self {
            pool: Pool::new()?,
            dialect: plan.dialect,
            identity: identity.clone(),
            members: Vec::with_capacity(plan.sockets),
            by_connection: HashMap::new(),
            sent: HashMap::new(),
            next_ack: FIRST_SEND,
            after: plan.after,
            tally: Tally::new(plan.rooms),
        };
        let mut progress = Instant::now();
        let mut ready = 0;
        while ready < plan.sockets {
            while crowd.members.len() < plan.sockets && crowd.members.len() - ready < AT_ONCE {
                let number = crowd.members.len();
                let address = plan.addresses[number % plan.addresses.len()];
                let connection = crowd.pool.connect(address, plan.dialect)?;
                crowd.by_connection.insert(connection, number);
                let rooms = (plan.rooms_of)(number);
                crowd.members.push(Member { connection, rooms, joined: 0 });
            }
            crowd.turn(Duration::from_millis(100))?;
            let now = crowd.members.iter().filter(|m| m.joined == m.rooms.len().max(1)).count();
            if now > ready {
                progress = Instant::now();
            }
            ensure!(progress.elapsed() < STUCK_AFTER, "{ready} of {} joined", plan.sockets);
            ready = now;
        }
        Ok(crowd)
    }

    pub fn size(&self) -> usize {
        self.members.len()
    }

    /// Bytes received.
    pub fn received(&self) -> u64 {
        self.pool.received
    }

    /// Closes all connections.
    pub fn scatter(&mut self) {
        for member in &self.members {
            self.pool.close(member.connection);
        }
    }

    /// Has a member send a text of `size` bytes to a room, stamped with `stamp`.
    pub fn say(
        &mut self,
        member: usize,
        room: usize,
        stamp: u64,
        size: usize,
    ) -> anyhow::Result<()> {
        let text = text(stamp, size);
        let packet = match self.dialect {
            Dialect::SocketIo => {
                let ack = self.next_ack;
                self.next_ack += 1;
                self.sent.insert(ack, stamp);
                let room = self.identity.room(room);
                format!(r#"42{ack}["send-msg",{{"roomId":"{room}","msg":"{text}"}}]"#)
            }
            Dialect::Nats => format!("PUB room.{room} {}\r\n{text}\r\n", text.len()),
            Dialect::JetStream => {
                let ack = self.next_ack;
                self.next_ack += 1;
                self.sent.insert(ack, stamp);
                let room = self.identity.room(room);
                let id = format!("NATS/1.0\r\nNats-Msg-Id: bench:{room}:{ack}\r\n\r\n");
                // As long as what a gateway makes of it.
                let payload = format!(r#"["receive-msg",{{"msg":"{text:-<200}"}}]"#);
                let (head, all) = (id.len(), id.len() + payload.len());
                format!(
                    "HPUB chat.0.in.{room} {INBOX}{member}.{ack} {head} {all}\r\n{id}{payload}\r\n"
                )
            }
        };
        self.pool.send(self.members[member].connection, &packet)
    }

    /// Has a later turn end after `wait`, however short.
    pub fn wake_after(&mut self, wait: Duration) -> anyhow::Result<()> {
        self.pool.wake_after(wait)
    }

    /// Takes what arrived, waiting at most `wait` for it.
    pub fn turn(&mut self, wait: Duration) -> anyhow::Result<()> {
        let Self { pool, identity, members, by_connection, sent, tally, .. } = self;
        let (dialect, after) = (self.dialect, self.after);
        pool.turn(wait, |connection, seen, sends| {
            let number = by_connection[&connection];
            let member = &mut members[number];
            let mut on = On { number, member, identity, sends, sent, tally, after };
            match (dialect, seen) {
                (_, Seen::Open) => Ok(()),
                (Dialect::SocketIo, Seen::Text(text)) => on.socket_io(text),
                (Dialect::Nats | Dialect::JetStream, Seen::Text(text)) => on.nats(dialect, text),
            }
        })
    }

    /// Until `done`, or an error when that takes too long.
    pub fn until(&mut self, mut done: impl FnMut(&Tally) -> bool) -> anyhow::Result<()> {
        let began = Instant::now();
        while !done(&self.tally) {
            self.turn(Duration::from_millis(20))?;
            ensure!(
                began.elapsed() < STUCK_AFTER,
                "stuck at {} deliveries",
                self.tally.deliveries()
            );
        }
        Ok(())
    }
}

/// Where JetStream's acknowledgements come to: the gateways' own, by `infra/nats/nats.conf`.
const INBOX: &str = "_INBOX_gateway.";

/// A member that hears something.
struct On<'a> {
    number: usize,
    member: &'a mut Member,
    identity: &'a Identity,
    sends: &'a mut Sends,
    sent: &'a mut HashMap<u64, u64>,
    tally: &'a mut Tally,
    after: Option<u64>,
}

impl On<'_> {
    fn socket_io(&mut self, text: &[u8]) -> anyhow::Result<()> {
        let connection = self.member.connection;
        match text {
            [b'4', b'2', ..] => {
                if text.starts_with(b"42[\"receive-msg\"") {
                    let room = self.room_of(text);
                    self.tally.on_delivery(self.number, room, text);
                }
            }
            [b'4', b'3', rest @ ..] => self.ack(rest)?,
            [b'0', ..] => self.sends.push(connection, self.identity.connect(self.number)?),
            [b'4', b'0', ..] if self.member.rooms.is_empty() => self.member.joined = 1,
            [b'4', b'0', ..] => {
                for (ack, room) in self.member.rooms.iter().enumerate() {
                    let join = self.identity.join(ack, self.number, *room, self.after)?;
                    self.sends.push(connection, join);
                }
            }
            b"2" => self.sends.push(connection, "3"),
            other => bail!("unexpected: {}", String::from_utf8_lossy(other)),
        }
        Ok(())
    }

    /// The only room of a member needs no looking.
    fn room_of(&self, text: &[u8]) -> usize {
        match self.member.rooms[..] {
            [room] => room,
            _ => self.identity.room_in(text).unwrap_or(0),
        }
    }

    fn ack(&mut self, rest: &[u8]) -> anyhow::Result<()> {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let ack: u64 = std::str::from_utf8(&rest[..digits])?.parse()?;
        let ok = memchr::memmem::find(rest, b"\"ok\":false").is_none();
        if ack < FIRST_SEND {
            ensure!(ok, "a join was refused: {}", String::from_utf8_lossy(rest));
            self.member.joined += 1;
        } else {
            let stamp = self.sent.remove(&ack).context("an acknowledgement of nothing")?;
            self.tally.on_ack(stamp, ok);
            ensure!(ok, "a send was refused: {}", String::from_utf8_lossy(rest));
        }
        Ok(())
    }

    fn hello(&self, dialect: Dialect) -> String {
        let mut hello = r#"CONNECT {"verbose":false,"protocol":1,"headers":true"#.to_owned();
        if dialect == Dialect::JetStream {
            hello += &format!(r#","user":"gateway","pass":"{PASSWORD}""#);
        }
        hello += "}\r\n";
        for room in &self.member.rooms {
            hello += &match dialect {
                Dialect::JetStream => {
                    let id = self.identity.room(*room);
                    format!("SUB chat.0.out.{id} 1\r\nSUB {INBOX}{}.* 2\r\n", self.number)
                }
                _ => format!("SUB room.{room} 1\r\n"),
            };
        }
        hello + "PING\r\n"
    }

    fn nats(&mut self, dialect: Dialect, text: &[u8]) -> anyhow::Result<()> {
        if let Some(inbox) = text.strip_prefix(b"MSG _INBOX") {
            let ack = inbox.splitn(3, |byte| *byte == b'.').nth(2).context("no such inbox")?;
            self.ack(ack)?;
        } else if text.starts_with(b"MSG ") || text.starts_with(b"HMSG ") {
            self.tally.on_delivery(self.number, self.member.rooms[0], text);
        } else if text.starts_with(b"INFO ") {
            self.sends.push(self.member.connection, self.hello(dialect));
        } else if text == b"PONG" {
            self.member.joined = self.member.rooms.len().max(1);
        } else if text == b"PING" {
            self.sends.push(self.member.connection, "PONG\r\n");
        } else {
            bail!("unexpected: {}", String::from_utf8_lossy(text));
        }
        Ok(())
    }
}
