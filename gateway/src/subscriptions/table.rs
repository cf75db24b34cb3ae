//! The table of subscriptions, and the protocol lines that wait to be sent to the server.

use std::collections::HashMap;

use protocol::{
    RoomId,
    subject::{self, Shards},
};
use service::nats::ConnectionGauge;
use tokio::sync::oneshot;

use crate::mailbox::Mailbox;

/// Bytes of presence replies that may wait to be sent; further replies are dropped.
const MAX_OUT_BYTES: usize = 1024 * 1024;

/// The kinds of a room's subscriptions. A subscription's id is [`KINDS`] times the room's number, plus the kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Stored = 0,
    Ephemeral = 1,
    PresenceQuery = 2,
}

/// A power of two, so that the ids of a room differ only in their low bits.
const KINDS: u64 = 4;

/// The subscriptions of all rooms, and the state of the current connection.
pub struct Table {
    shards: Shards,
    /// By the room's number, which is never reused: a late message cannot reach another room.
    rooms: HashMap<u64, Entry>,
    next: u64,
    /// Protocol lines for the server.
    out: Vec<u8>,
    /// `PING`s sent on this connection.
    pings: u64,
    /// `PONG`s received on this connection.
    pongs: u64,
    /// Callers that wait for their subscription to be confirmed, each with the number of the `PING` that was
    /// sent after it. The server answers in order, so its `PONG` is the confirmation.
    waiting: Vec<(u64, oneshot::Sender<()>)>,
    is_connected: bool,
    gauge: ConnectionGauge,
}

struct Entry {
    room: RoomId,
    mailbox: Mailbox,
    answers_queries: bool,
}

impl Table {
    pub fn new(shards: Shards) -> Self {
        Self {
            shards,
            rooms: HashMap::new(),
            next: 0,
            out: Vec::new(),
            pings: 0,
            pongs: 0,
            waiting: Vec::new(),
            is_connected: false,
            gauge: ConnectionGauge::new(false),
        }
    }

    pub fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// Subscribes to a room's events. Returns the room's number, and a receiver of the server's confirmation.
    pub fn add(&mut self, room: RoomId, mailbox: Mailbox) -> (u64, oneshot::Receiver<()>) {
        let number = self.next;
        self.next += 1;
        let entry = Entry { room, mailbox, answers_queries: false };
        if self.is_connected {
            entry.subscribe(number, self.shards, &mut self.out);
        }
        self.rooms.insert(number, entry);
        let ping = self.ping();
        // Callers that timed out would accumulate here while NATS is unreachable.
        self.waiting.retain(|(_, confirm)| !confirm.is_closed());
        let (confirm, confirmed) = oneshot::channel();
        self.waiting.push((ping, confirm));
        (number, confirmed)
    }

    /// Subscribes a room to presence queries as well.
    pub fn answer_queries(&mut self, number: u64) {
        let Some(entry) = self.rooms.get_mut(&number) else { return };
        entry.answers_queries = true;
        if self.is_connected {
            subscribe(&mut self.out, &subject::online(entry.room), number, Kind::PresenceQuery);
        }
    }

    /// Ends a room's subscriptions.
    pub fn remove(&mut self, number: u64) {
        let Some(entry) = self.rooms.remove(&number) else { return };
        if self.is_connected {
            let kinds = [Kind::Stored, Kind::Ephemeral, Kind::PresenceQuery];
            for kind in &kinds[..if entry.answers_queries { 3 } else { 2 }] {
                self.out.extend_from_slice(format!("UNSUB {}\r\n", sid(number, *kind)).as_bytes());
            }
        }
    }

    /// The room of a subscription and its mailbox, with the kind of the subscription; none if the room has ended.
    pub fn find(&self, sid: u64) -> Option<(Kind, RoomId, Mailbox)> {
        let entry = self.rooms.get(&(sid / KINDS))?;
        let kind = match sid % KINDS {
            stored if stored == Kind::Stored as u64 => Kind::Stored,
            ephemeral if ephemeral == Kind::Ephemeral as u64 => Kind::Ephemeral,
            _ => Kind::PresenceQuery,
        };
        Some((kind, entry.room, entry.mailbox.clone()))
    }

    /// Publishes a reply. It is dropped without a connection, or if too many wait to be sent.
    pub fn reply(&mut self, subject: &str, payload: &[u8]) {
        if self.is_connected && self.out.len() < MAX_OUT_BYTES {
            let head = format!("PUB {subject} {}\r\n", payload.len());
            self.out.extend_from_slice(head.as_bytes());
            self.out.extend_from_slice(payload);
            self.out.extend_from_slice(b"\r\n");
        }
    }

    /// Subscribes all rooms on a new connection. Messages published since the old one broke were missed.
    pub fn connected(&mut self) {
        self.out.clear();
        for (number, entry) in &self.rooms {
            entry.subscribe(*number, self.shards, &mut self.out);
            entry.mailbox.mark_missed();
        }
        (self.is_connected, self.pings, self.pongs) = (true, 0, 0);
        self.gauge.set(true);
        // Callers that waited for a confirmation on the old connection now wait for one on this connection.
        let ping = self.ping();
        self.waiting.iter_mut().for_each(|(waits_for, _)| *waits_for = ping);
    }

    pub fn disconnected(&mut self) {
        self.is_connected = false;
        self.gauge.set(false);
    }

    /// Queues a `PING` and returns its number. Without a connection, returns the number of the last one.
    fn ping(&mut self) -> u64 {
        if self.is_connected {
            self.out.extend_from_slice(b"PING\r\n");
            self.pings += 1;
        }
        self.pings
    }

    /// Queues the regular `PING`. False if the last two are not answered: the connection is broken.
    pub fn keep_alive(&mut self) -> bool {
        let is_alive = self.pings <= self.pongs + 1;
        if is_alive {
            self.ping();
        }
        is_alive
    }

    /// Answers a `PING` of the server.
    pub fn pong(&mut self) {
        self.out.extend_from_slice(b"PONG\r\n");
    }

    /// Confirms the subscriptions that were sent before the `PING` of this `PONG`.
    pub fn on_pong(&mut self) {
        self.pongs += 1;
        for (_, confirm) in self.waiting.extract_if(.., |(ping, _)| *ping <= self.pongs) {
            // The caller may have timed out.
            let _ = confirm.send(());
        }
    }

    /// Takes the lines to send.
    pub fn take_out(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }
}

impl Entry {
    fn subscribe(&self, number: u64, shards: Shards, out: &mut Vec<u8>) {
        subscribe(out, &subject::republished(shards, self.room), number, Kind::Stored);
        subscribe(out, &subject::live(self.room), number, Kind::Ephemeral);
        if self.answers_queries {
            subscribe(out, &subject::online(self.room), number, Kind::PresenceQuery);
        }
    }
}

fn sid(number: u64, kind: Kind) -> u64 {
    number * KINDS + kind as u64
}

fn subscribe(out: &mut Vec<u8>, subject: &str, number: u64, kind: Kind) {
    out.extend_from_slice(format!("SUB {subject} {}\r\n", sid(number, kind)).as_bytes());
}
