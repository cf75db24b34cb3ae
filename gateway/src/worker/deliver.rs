//! From a room's frames to sockets: marked when frames come, written when the turn ends.

use std::time::Duration;

use protocol::{RoomId, event::ServerEvent};

use crate::batch::Batch;

use super::{
    SocketId,
    outbox::TooMuch,
    socket::{Flushed, Socket},
    state::{LocalRoom, Worker},
};

/// What one write to a socket takes, roughly: measured on the loopback of a virtual machine, where
/// it is dear. Only the order of magnitude matters here.
const WRITE: Duration = Duration::from_micros(8);
/// Timers are not finer than this.
const SHORTEST_HOLD: Duration = Duration::from_millis(1);
const LONGEST_HOLD: Duration = Duration::from_millis(4);

impl LocalRoom {
    /// How long to wait for more before writing to all: a quarter of what the writing will take, so
    /// that the last socket hardly notices, and only if the last time brought more than one event.
    /// What comes within it costs no write of its own.
    fn hold(&self) -> Option<Duration> {
        let quarter = WRITE * u32::try_from(self.members.len()).unwrap_or(u32::MAX) / 4;
        (self.busy && quarter >= SHORTEST_HOLD).then(|| quarter.min(LONGEST_HOLD))
    }
}

impl Worker {
    /// Appends frames to the room's log, to be written when this turn ends or, in a big and busy
    /// room, a moment later together with what comes until then.
    pub(super) fn deliver(&mut self, room: RoomId, batch: Batch) {
        let Some(&key) = self.room_keys.get(&room) else { return };
        let Some(local) = self.rooms.get_mut(key) else { return };
        self.meters.deliveries.increment((batch.frames() * local.members.len()) as u64);
        local.pending += batch.frames();
        local.log.push(batch);
        if local.held {
            return;
        }
        match local.hold() {
            None => self.release(key),
            Some(wait) => {
                local.held = true;
                let Some(worker) = self.me.upgrade() else { return };
                tokio::task::spawn_local(async move {
                    tokio::time::sleep(wait).await;
                    let mut worker = worker.borrow_mut();
                    // It may have been deleted meanwhile.
                    if let Some(&key) = worker.room_keys.get(&room) {
                        worker.release(key);
                    }
                });
            }
        }
    }

    /// Has a room's new frames written to all its sockets when this turn ends.
    fn release(&mut self, key: usize) {
        let Some(local) = self.rooms.get_mut(key) else { return };
        local.held = false;
        local.busy = local.pending > 1;
        local.pending = 0;
        if !local.dirty {
            local.dirty = true;
            self.dirty_rooms.push(key);
        }
        for &id in &local.members {
            if let Some(socket) = self.sockets.get_mut(id.index as usize)
                && !socket.dirty
            {
                socket.dirty = true;
                self.dirty_sockets.push(id);
            }
        }
        self.flush.notify_one();
    }

    /// Every socket gets what it has yet to be written of the room, and is no longer in it.
    pub(super) fn close_room(&mut self, room: RoomId, batch: Batch) {
        let Some(key) = self.room_keys.remove(&room) else { return };
        let LocalRoom { mut log, members, .. } = self.rooms.remove(key);
        self.meters.deliveries.increment((batch.frames() * members.len()) as u64);
        log.push(batch);
        for id in members {
            let Some(socket) = self.socket(id) else { continue };
            if let Some(index) = socket.places.iter().position(|place| place.room == key) {
                let place = socket.places.swap_remove(index);
                log.shared_after(place.cursor).for_each(|frames| socket.push_shared(frames));
            }
            if let Some(session) = socket.session() {
                session.forget(room);
            }
            self.mark_dirty(id);
        }
    }

    /// Has the socket looked at when this turn ends.
    pub fn mark_dirty(&mut self, id: SocketId) {
        if let Some(socket) = self.socket(id)
            && !socket.dirty
        {
            socket.dirty = true;
            self.dirty_sockets.push(id);
            self.flush.notify_one();
        }
    }

    /// Has the rooms of a socket that was behind trimmed when this turn ends.
    pub fn mark_rooms_dirty(&mut self, id: SocketId) {
        let places = self.socket(id).map(|socket| socket.places.clone()).unwrap_or_default();
        for place in places {
            if let Some(room) = self.rooms.get_mut(place.room)
                && !room.dirty
            {
                room.dirty = true;
                self.dirty_rooms.push(place.room);
            }
        }
    }

    /// Writes to every socket what became ready, then forgets what all have taken.
    pub fn flush_dirty(&mut self) {
        for id in std::mem::take(&mut self.dirty_sockets) {
            self.flush_socket(id);
        }
        for key in std::mem::take(&mut self.dirty_rooms) {
            self.trim(key);
        }
    }

    /// Writes to a socket what is ready for it.
    pub(super) fn flush_socket(&mut self, id: SocketId) {
        let rooms = &self.rooms;
        let budget = &self.budget;
        let Some(socket) = self.sockets.get_mut(id.index as usize) else { return };
        if socket.generation != id.generation {
            return;
        }
        socket.dirty = false;
        let before = socket.life.sent;
        let flushed = match socket.blocked {
            true => None,
            false => Some(socket.flush(rooms, &self.meters.writes, budget)),
        };
        self.meters.sent.increment(socket.life.sent - before);
        // Also of a socket that takes nothing now: others send to it all the same.
        if let Err(TooMuch(reason)) = socket.settle() {
            socket.life.reason = reason;
            return self.remove(id);
        }
        socket.resume();
        let Some(flushed) = flushed else { return };
        match flushed {
            Flushed::All => self.written(id),
            Flushed::Blocked => self.wait_until_writable(id),
            Flushed::Broken | Flushed::Ended => self.remove(id),
        }
    }

    fn trim(&mut self, key: usize) {
        let pressure = self.budget.pressure();
        let Some(room) = self.rooms.get_mut(key) else { return };
        room.dirty = false;
        if room.held {
            // Its sockets have yet to be written what is held; trimmed when they are.
            return;
        }
        if room.blocked == 0 {
            return room.log.trim(room.log.end());
        }
        let bound = room.log.bound(pressure);
        let mut slowest = room.log.end();
        let mut behind = Vec::new();
        for &id in &room.members {
            let Some(socket) = self.sockets.get(id.index as usize) else { continue };
            let Some(place) = socket.places.iter().find(|place| place.room == key) else {
                continue;
            };
            slowest = slowest.min(place.cursor);
            if place.cursor < bound {
                behind.push((id, place.cursor));
            }
        }
        for (id, cursor) in behind {
            self.lag(id, key, cursor);
        }
        if let Some(room) = self.rooms.get_mut(key) {
            room.log.trim(slowest.max(bound));
        }
    }

    /// Notes whether a socket takes no more for now.
    pub(super) fn set_blocked(&mut self, id: SocketId, blocked: bool) {
        let Some(socket) = self.sockets.get_mut(id.index as usize) else { return };
        if socket.generation != id.generation || socket.blocked == blocked {
            return;
        }
        socket.set_blocked(blocked);
        let change = if blocked { 1.0 } else { -1.0 };
        metrics::gauge!("gateway_sockets_behind").increment(change);
        for place in &socket.places {
            if let Some(room) = self.rooms.get_mut(place.room) {
                room.blocked = if blocked { room.blocked + 1 } else { room.blocked - 1 };
            }
        }
    }

    /// Every socket of a room leaves it and is told where to take it up again: after what it was
    /// written, for what it was not is no longer certain to follow.
    pub(super) fn lag_all(&mut self, room: RoomId) {
        let Some(&key) = self.room_keys.get(&room) else { return };
        // The room here is gone with the last one.
        for id in self.rooms[key].members.clone() {
            let place = self
                .socket(id)
                .and_then(|socket| socket.places.iter().find(|place| place.room == key).copied());
            if let Some(place) = place {
                self.lag(id, key, place.cursor);
            }
        }
    }

    /// A socket is too far behind: it leaves the room and is told where to take it up again.
    fn lag(&mut self, id: SocketId, key: usize, cursor: u64) {
        metrics::counter!("gateway_lags_total").increment(1);
        let (room_id, last) = (self.rooms[key].id, self.rooms[key].log.seq_at(cursor));
        if let Some(session) = self.socket(id).and_then(Socket::session) {
            session.forget(room_id);
        }
        self.detach(id, room_id);
        self.emit(id, &ServerEvent::Lag { room_id, last });
    }
}
