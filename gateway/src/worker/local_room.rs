//! A room that has sockets on this worker.

use std::time::Duration;

use protocol::{RoomId, Seq};

use super::{
    log::{Cursor, FrameLog},
    socket::RoomKey,
    sockets::Sockets,
};
use crate::{batch::Batch, memory::Pressure, wire::sid::SocketId};

/// About how long one write to a socket takes, measured on the loopback of a virtual machine. Only the
/// order of magnitude matters.
const WRITE: Duration = Duration::from_micros(8);
/// Timers are not finer than this.
const SHORTEST_HOLD: Duration = Duration::from_millis(1);
const LONGEST_HOLD: Duration = Duration::from_millis(4);

/// See the module.
pub struct LocalRoom {
    id: RoomId,
    log: FrameLog,
    members: Vec<SocketId>,
    /// Members that take no more for now. While there are none, a flush leaves nobody behind.
    blocked: usize,
    /// Frames since the members were marked last.
    pending: usize,
    /// More than one frame came between the last two marks.
    busy: bool,
    /// Frames wait a moment for more before the members are marked.
    held: bool,
}

/// What to do after frames came.
pub enum Delivery {
    /// Mark the members.
    Now,
    /// Mark them after this time.
    After(Duration),
    /// The members will be marked by an earlier delivery.
    Held,
}

impl LocalRoom {
    /// A room without sockets, whose newest event is `last`.
    pub fn new(id: RoomId, last: Seq) -> Self {
        Self {
            id,
            log: FrameLog::new(last),
            members: Vec::new(),
            blocked: 0,
            pending: 0,
            busy: false,
            held: false,
        }
    }

    pub fn id(&self) -> RoomId {
        self.id
    }

    pub fn log(&self) -> &FrameLog {
        &self.log
    }

    pub fn members(&self) -> &[SocketId] {
        &self.members
    }

    /// Adds a socket; returns its index among the members.
    pub fn add(&mut self, socket: SocketId, is_blocked: bool) -> usize {
        self.blocked += usize::from(is_blocked);
        self.members.push(socket);
        self.members.len() - 1
    }

    /// Removes the member at an index; returns the one that took its index.
    pub fn remove(&mut self, slot: usize, is_blocked: bool) -> Option<SocketId> {
        self.blocked -= usize::from(is_blocked);
        self.members.swap_remove(slot);
        self.members.get(slot).copied()
    }

    /// A member takes no more for now, or takes more again.
    pub fn set_blocked(&mut self, is_blocked: bool) {
        if is_blocked {
            self.blocked += 1;
        } else {
            self.blocked -= 1;
        }
    }

    /// Appends frames that are not delivered through a flush.
    pub fn append(&mut self, batch: Batch) {
        self.log.push(batch);
    }

    /// Appends frames for all members. A big and busy room holds them a moment for more.
    pub fn deliver(&mut self, batch: Batch) -> Delivery {
        self.pending += batch.frames();
        self.append(batch);
        if self.held {
            return Delivery::Held;
        }
        let hold = self.hold();
        self.held = hold.is_some();
        hold.map_or(Delivery::Now, Delivery::After)
    }

    /// How long to wait for more frames before writing to all members: a quarter of the time that the
    /// writing will take, so that the last member hardly notices. What comes meanwhile needs no write of
    /// its own. Only if more than one event came the last time.
    fn hold(&self) -> Option<Duration> {
        let members = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        let quarter = WRITE * members / 4;
        (self.busy && quarter >= SHORTEST_HOLD).then(|| quarter.min(LONGEST_HOLD))
    }

    /// The members are being marked.
    pub fn release(&mut self) {
        self.held = false;
        self.busy = self.pending > 1;
        self.pending = 0;
    }

    /// The members that are behind the log's bound, with their cursors, and the cursor up to which the
    /// log can be trimmed once these are gone. Nothing is trimmed while frames are held.
    pub fn check_backlog(
        &self,
        key: RoomKey,
        sockets: &Sockets,
        pressure: Pressure,
    ) -> (Vec<(SocketId, Cursor)>, Cursor) {
        let mut behind = Vec::new();
        if self.held {
            return (behind, 0);
        }
        let mut slowest = self.log.end();
        if self.blocked == 0 {
            return (behind, slowest);
        }
        let bound = self.log.bound(pressure);
        for &id in &self.members {
            let place = sockets.get(id).and_then(|socket| socket.backlog().place(key));
            let Some(place) = place else { continue };
            slowest = slowest.min(place.cursor);
            if place.cursor < bound {
                behind.push((id, place.cursor));
            }
        }
        (behind, slowest.max(bound))
    }

    /// Drops the frames before a cursor.
    pub fn trim(&mut self, cursor: Cursor) {
        self.log.trim(cursor);
    }
}
