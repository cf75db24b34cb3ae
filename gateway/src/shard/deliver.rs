//! From a room's frames to sockets: marked when frames come, written when the turn ends.

use std::sync::Arc;

use protocol::{RoomId, event::ServerEvent};

use super::{
    Frame, SocketId,
    socket::{Flushed, Socket},
    state::{LocalRoom, Shard},
};

impl Shard {
    pub(super) fn deliver(&mut self, room: RoomId, frames: &Arc<[Frame]>) {
        let Some(&key) = self.room_keys.get(&room) else { return };
        let Some(local) = self.rooms.get_mut(key) else { return };
        frames.iter().for_each(|frame| local.log.push(frame.clone()));
        metrics::counter!("gateway_deliveries_total")
            .increment((frames.len() * local.members.len()) as u64);
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
    pub(super) fn room_closed(&mut self, room: RoomId) {
        let Some(key) = self.room_keys.remove(&room) else { return };
        let LocalRoom { log, members, .. } = self.rooms.remove(key);
        for id in members {
            let Some(socket) = self.socket(id) else { continue };
            if let Some(index) = socket.places.iter().position(|place| place.room == key) {
                let place = socket.places.swap_remove(index);
                log.after(place.cursor).for_each(|frame| socket.push(frame.bytes.clone()));
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

    fn flush_socket(&mut self, id: SocketId) {
        let rooms = &self.rooms;
        let Some(socket) = self.sockets.get_mut(id.index as usize) else { return };
        if socket.generation != id.generation {
            return;
        }
        socket.dirty = false;
        if socket.blocked {
            return;
        }
        match socket.flush(rooms) {
            Flushed::All => self.written(id),
            Flushed::Blocked => self.wait_until_writable(id),
            Flushed::Broken => self.remove(id),
        }
    }

    fn trim(&mut self, key: usize) {
        let Some(room) = self.rooms.get_mut(key) else { return };
        room.dirty = false;
        let cursors = |shard: &Self, key: usize| -> Vec<(SocketId, u64)> {
            let members = shard.rooms[key].members.iter();
            members
                .filter_map(|&id| {
                    let socket = shard.sockets.get(id.index as usize)?;
                    let place = socket.places.iter().find(|place| place.room == key)?;
                    Some((id, place.cursor))
                })
                .collect()
        };
        let bound = self.rooms[key].log.bound();
        let places = cursors(self, key);
        let slowest = places.iter().map(|(_, cursor)| *cursor).min();
        let slowest = slowest.unwrap_or_else(|| self.rooms[key].log.end());
        for (id, cursor) in places.into_iter().filter(|(_, cursor)| *cursor < bound) {
            self.lag(id, key, cursor);
        }
        if let Some(room) = self.rooms.get_mut(key) {
            room.log.trim(slowest.max(bound));
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
