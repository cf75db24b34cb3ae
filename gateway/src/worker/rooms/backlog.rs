//! Members of rooms that are behind: blocked sockets, trimming of frame logs, and `lag`.

use protocol::{RoomId, event::ServerEvent};

use super::{LocalRooms, Slot};
use crate::{
    wire::sid::SocketId,
    worker::{log::Cursor, socket::RoomKey, sockets::Sockets},
};

impl LocalRooms {
    /// Takes every socket out of a room with `lag`, because further frames may not follow without a gap.
    pub fn lag_all(&mut self, room: RoomId, sockets: &mut Sockets) {
        let Some((key, local)) = self.find(room) else { return };
        for id in local.members().to_vec() {
            if let Some(place) = sockets.get(id).and_then(|socket| socket.backlog().place(key)) {
                self.lag(id, key, place.cursor, sockets);
            }
        }
    }

    /// See [`Self::lag_all`], for all rooms.
    pub fn lag_everywhere(&mut self, sockets: &mut Sockets) {
        for room in self.keys.keys().copied().collect::<Vec<_>>() {
            self.lag_all(room, sockets);
        }
    }

    /// Takes a socket out of a room with `lag`, which contains the seq of the last event that was sent to it.
    fn lag(&mut self, id: SocketId, key: RoomKey, cursor: Cursor, sockets: &mut Sockets) {
        let Some(local) = self.room_mut(key) else { return };
        let (room_id, last) = (local.id(), local.log().seq_at(cursor));
        metrics::counter!("chat_gateway_lags_total").increment(1);
        if let Some(session) = sockets.session_mut(id) {
            session.forget(room_id);
        }
        self.leave_key(id, key, sockets);
        sockets.emit(id, &ServerEvent::Lag { room_id, last });
    }

    /// Marks a socket as blocked: the last write did not take all frames.
    pub fn block(&mut self, id: SocketId, sockets: &mut Sockets) {
        self.set_blocked(id, true, sockets);
    }

    /// Marks a socket as writable again. It is flushed and its rooms are trimmed at the end of this turn.
    pub fn unblock(&mut self, id: SocketId, sockets: &mut Sockets) {
        self.set_blocked(id, false, sockets);
        let Some(socket) = sockets.get(id) else { return };
        for place in socket.backlog().places() {
            if let Some(slot) = self.rooms.get_mut(place.room.0) {
                self.flush.add(place.room, &mut slot.is_marked);
            }
        }
        sockets.mark(id);
    }

    pub(super) fn set_blocked(&mut self, id: SocketId, is_blocked: bool, sockets: &mut Sockets) {
        let Some(socket) = sockets.get_mut(id) else { return };
        if !socket.transport_mut().set_blocked(is_blocked) {
            return;
        }
        let change = if is_blocked { 1.0 } else { -1.0 };
        metrics::gauge!("chat_gateway_sockets_behind").increment(change);
        for place in socket.backlog().places() {
            if let Some(slot) = self.rooms.get_mut(place.room.0) {
                slot.room.set_blocked(is_blocked);
            }
        }
    }

    /// Trims the logs of all marked rooms. Sockets that are too far behind leave their room with `lag`.
    pub fn trim_marked(&mut self, sockets: &mut Sockets) {
        let pressure = self.budget.pressure();
        for key in self.flush.take() {
            let Some(Slot { is_marked, room }) = self.rooms.get_mut(key.0) else { continue };
            *is_marked = false;
            let (behind, cursor) = room.check_backlog(key, sockets, pressure);
            for (id, cursor) in behind {
                self.lag(id, key, cursor, sockets);
            }
            if let Some(room) = self.room_mut(key) {
                room.trim(cursor);
            }
        }
    }
}
