//! A room's sockets on this worker.

use std::time::Duration;

use protocol::{RoomId, Seq};

use super::{
    log::{Cursor, FrameLog},
    socket::RoomKey,
    sockets::Sockets,
};
use crate::{batch::Batch, memory::Pressure, wire::sid::SocketId};

/// Approximate duration of one write to a socket, measured on the loopback of a virtual machine. Only the order
/// of magnitude matters.
const WRITE: Duration = Duration::from_micros(8);
/// The resolution of tokio's timers.
const SHORTEST_HOLD: Duration = Duration::from_millis(1);
const LONGEST_HOLD: Duration = Duration::from_millis(4);

/// See the module.
pub struct LocalRoom {
    id: RoomId,
    log: FrameLog,
    members: Vec<SocketId>,
    /// Number of blocked members. If it is zero, all members have received the whole log after a flush.
    blocked: usize,
    /// Number of frames since the members were last marked.
    pending: usize,
    /// More than one frame came between the last two marks.
    busy: bool,
    /// Frames are being held: the members will be marked later.
    held: bool,
}

/// The caller's next step after a delivery.
pub enum Delivery {
    /// Mark the members for flushing.
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

    /// A member became blocked, or is no longer blocked.
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

    /// Appends frames for all members. A big and busy room holds them briefly, to write several frames at once.
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

    /// How long to wait for more frames before writing to all members: a quarter of the time that the writes
    /// will take, which adds little to the last member's delay. Frames that arrive in the meantime share the
    /// same write. None unless more than one frame arrived the last time.
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

    /// The members that are behind the log's bound, with their cursors, and the cursor up to which the log can
    /// be trimmed after they have left. Nothing is trimmed while frames are held.
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
