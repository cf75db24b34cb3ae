//! The rooms that have sockets on this worker: their members, and delivery to them.

mod backlog;

use std::{collections::HashMap, rc::Rc, time::Duration};

use bytes::Bytes;
use protocol::{RoomId, Seq, UserId, subject::MemberState};
use slab::Slab;
use tokio::sync::Notify;

use super::{
    flush::FlushQueue,
    local_room::{Delivery, LocalRoom},
    log::FrameLog,
    room_link::RoomLink,
    socket::{Place, RoomKey, RoomLogs},
    sockets::Sockets,
};
use crate::{
    batch::Batch,
    command::Joined,
    memory::Budget,
    session::{Session, not_joined},
    wire::sid::SocketId,
};

/// See the module. A room and the [`Place`]s of its members refer to each other. Both must change together, so
/// most methods take the sockets as an argument.
pub struct LocalRooms {
    rooms: Slab<Slot>,
    keys: HashMap<RoomId, RoomKey>,
    flush: FlushQueue<RoomKey>,
    link: RoomLink,
    budget: Budget,
    deliveries: metrics::Counter,
}

struct Slot {
    is_marked: bool,
    room: LocalRoom,
}

impl RoomLogs for LocalRooms {
    fn log(&self, room: RoomKey) -> Option<&FrameLog> {
        self.rooms.get(room.0).map(|slot| slot.room.log())
    }
}

impl LocalRooms {
    /// No rooms. `wake` wakes the task that flushes.
    pub fn new(link: RoomLink, wake: Rc<Notify>, budget: Budget) -> Self {
        Self {
            rooms: Slab::new(),
            keys: HashMap::new(),
            flush: FlushQueue::new(wake),
            link,
            budget,
            deliveries: metrics::counter!("chat_gateway_deliveries_total"),
        }
    }

    /// The sender of commands to the room tasks.
    pub fn link(&mut self) -> &mut RoomLink {
        &mut self.link
    }

    fn find(&self, room: RoomId) -> Option<(RoomKey, &LocalRoom)> {
        let &key = self.keys.get(&room)?;
        self.rooms.get(key.0).map(|slot| (key, &slot.room))
    }

    fn room_mut(&mut self, key: RoomKey) -> Option<&mut LocalRoom> {
        self.rooms.get_mut(key.0).map(|slot| &mut slot.room)
    }

    /// The seq of the newest event of the room that was delivered to this worker; zero for none.
    pub fn newest(&self, room: RoomId) -> Seq {
        self.find(room).map_or(Seq::ZERO, |(_, room)| room.log().newest())
    }

    /// Completes a join that the room accepted. If the socket is closed or may no longer join, the room gets a
    /// leave command instead.
    pub fn join(&mut self, joined: Joined, sockets: &mut Sockets) {
        let Joined { socket: id, room, user, last, replay, ack, done } = joined;
        self.leave(id, room, sockets);
        let Some(socket) = sockets.get_mut(id) else { return self.link.leave(room, user) };
        socket.gate_mut().end_join();
        let session = socket.session_mut().ok_or_else(not_joined);
        if let Err(refusal) = session.and_then(|session| session.joined(room)) {
            sockets.acknowledge(id, ack, Err(refusal));
            return self.link.leave(room, user);
        }
        let rooms = &mut self.rooms;
        let key = *self.keys.entry(room).or_insert_with(|| {
            RoomKey(rooms.insert(Slot { is_marked: false, room: LocalRoom::new(room, last) }))
        });
        if let Some(local) = self.room_mut(key) {
            let cursor = local.log().end();
            let slot = local.add(id, socket.transport().is_blocked());
            socket.backlog_mut().enter(Place { room: key, cursor, slot });
        }
        sockets.push_shared(id, replay.into_iter());
        sockets.acknowledge(id, ack, Ok(done));
    }

    /// Takes a socket out of a room, if it is in it.
    pub fn leave(&mut self, id: SocketId, room: RoomId, sockets: &mut Sockets) {
        if let Some(&key) = self.keys.get(&room) {
            self.leave_key(id, key, sockets);
        }
    }

    /// Takes a socket out of all its rooms.
    pub fn leave_all(&mut self, id: SocketId, sockets: &mut Sockets) {
        while let Some(room) = sockets.get(id).and_then(|socket| socket.backlog().last_room()) {
            self.leave_key(id, room, sockets);
        }
    }

    fn leave_key(&mut self, id: SocketId, key: RoomKey, sockets: &mut Sockets) {
        let Some(socket) = sockets.get_mut(id) else { return };
        let Some(place) = socket.backlog_mut().leave(key) else { return };
        let user = socket.session().map(Session::user);
        let is_blocked = socket.transport().is_blocked();
        let Some(local) = self.room_mut(key) else { return };
        let (room, moved) = (local.id(), local.remove(place.slot, is_blocked));
        if local.members().is_empty() {
            self.rooms.remove(key.0);
            self.keys.remove(&room);
        }
        if let Some(moved) = moved.and_then(|moved| sockets.get_mut(moved)) {
            moved.backlog_mut().set_slot(key, place.slot);
        }
        if let Some(user) = user {
            self.link.leave(room, user);
        }
    }

    /// Appends frames for all sockets in a room. They are written at the end of this turn. If a time is
    /// returned, the caller must call [`Self::release`] after it, which has them written.
    pub fn deliver(
        &mut self,
        room: RoomId,
        batch: Batch,
        sockets: &mut Sockets,
    ) -> Option<Duration> {
        let &key = self.keys.get(&room)?;
        let local = self.rooms.get_mut(key.0).map(|slot| &mut slot.room)?;
        self.deliveries.increment((batch.frames() * local.members().len()) as u64);
        match local.deliver(batch) {
            Delivery::Now => self.release(room, sockets),
            Delivery::After(hold) => return Some(hold),
            Delivery::Held => {}
        }
        None
    }

    /// Marks all sockets of a room for flushing.
    pub fn release(&mut self, room: RoomId, sockets: &mut Sockets) {
        let Some(&key) = self.keys.get(&room) else { return };
        let Some(Slot { is_marked, room }) = self.rooms.get_mut(key.0) else { return };
        room.release();
        self.flush.add(key, is_marked);
        room.members().iter().for_each(|&id| sockets.mark(id));
    }

    /// Closes a deleted room: every socket leaves it, and its frames that were not sent yet move to the
    /// socket's outbox.
    pub fn close(&mut self, room: RoomId, batch: Batch, sockets: &mut Sockets) {
        let Some(key) = self.keys.remove(&room) else { return };
        let Slot { room: mut local, .. } = self.rooms.remove(key.0);
        self.deliveries.increment((batch.frames() * local.members().len()) as u64);
        local.append(batch);
        for &id in local.members() {
            let Some(socket) = sockets.get_mut(id) else { continue };
            let place = socket.backlog_mut().leave(key);
            if let Some(session) = socket.session_mut() {
                session.forget(room);
            }
            let cursor = place.map_or(local.log().end(), |place| place.cursor);
            sockets.push_shared(id, local.log().shared_after(cursor));
        }
    }

    /// Queues a frame for one user's sockets in a room.
    pub fn push_to_user(
        &mut self,
        room: RoomId,
        user: UserId,
        frame: &Bytes,
        sockets: &mut Sockets,
    ) {
        for id in self.sockets_of(room, user, sockets) {
            sockets.push(id, frame.clone());
        }
    }

    fn sockets_of(&self, room: RoomId, user: UserId, sockets: &Sockets) -> Vec<SocketId> {
        let members = self.find(room).map_or(&[][..], |(_, room)| room.members());
        let is_user = |id: &&SocketId| {
            let session = sockets.get(**id).and_then(|socket| socket.session());
            session.is_some_and(|session| session.user() == user)
        };
        members.iter().filter(is_user).copied().collect()
    }

    /// Applies a changed membership to the user's sockets. A removed user's sockets leave the room; frames
    /// delivered before the removal are still sent.
    pub fn member_changed(
        &mut self,
        room: RoomId,
        user: UserId,
        state: MemberState,
        sockets: &mut Sockets,
    ) {
        for id in self.sockets_of(room, user, sockets) {
            let Some(session) = sockets.session_mut(id) else { continue };
            if session.member_changed(room, state).is_ok() {
                continue;
            }
            if let Some((key, local)) = self.find(room)
                && let Some(place) = sockets.get(id).and_then(|socket| socket.backlog().place(key))
            {
                sockets.push_shared(id, local.log().shared_after(place.cursor));
            }
            self.leave(id, room, sockets);
        }
    }

    /// Takes a socket that is about to be removed out of all rooms, and out of their counts of blocked sockets.
    pub fn forget_socket(&mut self, id: SocketId, sockets: &mut Sockets) {
        self.set_blocked(id, false, sockets);
        self.leave_all(id, sockets);
    }
}
