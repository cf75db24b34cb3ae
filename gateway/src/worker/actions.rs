//! What a socket's event makes happen.

use std::time::Instant;

use bytes::Bytes;
use protocol::{
    Code, RoomId, Seq, UserId,
    code::Refusal,
    event::{ClientEvent, Done},
    rate::OverBudget,
    stored::StoredEvent,
    subject::MemberState,
    token::Verifier,
};

use super::{
    SocketId, SocketRef,
    outgoing::{Send, What},
    socket::Socket,
    state::Worker,
};
use crate::{command::RoomCommand, session::Action};

impl Worker {
    /// Has the session decide, and does what it says.
    pub fn on_event(
        &mut self,
        id: SocketId,
        event: Result<ClientEvent, Refusal>,
        ack: Option<u64>,
    ) {
        let event = match event {
            Ok(event) => event,
            Err(refusal) => return self.acknowledge(id, ack, Err(refusal)),
        };
        metrics::counter!("gateway_events_total", "event" => event.name()).increment(1);
        let Some(verifier) = self.context().keys.verifier() else {
            let refusal = Refusal::new(Code::Unavailable, "the public keys are not there yet");
            return self.acknowledge(id, ack, Err(refusal));
        };
        let token = match &event {
            ClientEvent::JoinRoom(join) => Some(&join.ticket),
            ClientEvent::Refresh(refresh) => Some(&refresh.token),
            _ => None,
        };
        if token.is_some_and(|token| verifier.lacks_key_of(token)) {
            return self.look_for_key(id, event, ack);
        }
        self.decide(id, event, ack, &verifier);
    }

    /// Fetches the public keys before the session decides. The socket is not read meanwhile, so its
    /// events keep their order.
    fn look_for_key(&mut self, id: SocketId, event: ClientEvent, ack: Option<u64>) {
        let Some(worker) = self.me.upgrade() else { return };
        let Some(socket) = self.socket(id) else { return };
        socket.awaits_key = true;
        let keys = self.context().keys.clone();
        tokio::task::spawn_local(async move {
            keys.look_again().await;
            let mut worker = worker.borrow_mut();
            let Some(socket) = worker.socket(id) else { return };
            socket.awaits_key = false;
            if let Some(verifier) = keys.verifier() {
                worker.decide(id, event, ack, &verifier);
            }
            // Reading goes on when the socket is flushed.
            worker.mark_dirty(id);
        });
    }

    fn decide(&mut self, id: SocketId, event: ClientEvent, ack: Option<u64>, verifier: &Verifier) {
        let Some(session) = self.socket(id).and_then(Socket::session) else { return };
        match session.on_event(event, verifier, Instant::now()) {
            Ok(action) => self.perform(id, action, ack),
            Err(refusal) => self.acknowledge(id, ack, Err(refusal)),
        }
    }

    fn perform(&mut self, id: SocketId, action: Action, ack: Option<u64>) {
        match action {
            Action::Join { room, person, after } => {
                self.detach(id, room);
                let socket = SocketRef { worker: self.index, id };
                let command = RoomCommand::Join { socket, person, after, ack };
                let sent = self.context().rooms.send(room, command);
                if let Some(socket) = self.socket(id) {
                    socket.joining += usize::from(sent.is_ok());
                }
                if sent.is_err() {
                    if let Some(session) = self.socket(id).and_then(Socket::session) {
                        session.forget(room);
                    }
                    let refusal = Refusal::new(Code::Busy, "the room is busy; try again");
                    self.acknowledge(id, ack, Err(refusal));
                }
            }
            Action::Rename { room, person } => {
                self.tell_room(room, RoomCommand::Rename { person });
                self.acknowledge(id, ack, Ok(Done::EMPTY));
            }
            Action::Leave { room } => {
                self.detach(id, room);
                self.acknowledge(id, ack, Ok(Done::EMPTY));
            }
            Action::Store { room, id: message, event, needs, look_up } => {
                if let Err(over) = self.charge(id, room, &event) {
                    return self.acknowledge(id, ack, Err(over.into()));
                }
                let what = What::Event { id: message, event, needs, look_up };
                self.send(id, Send { room, what, ack });
            }
            Action::Read { room, seq } => self.read_up_to(id, room, seq, ack),
            Action::Tell { room, event } => {
                self.send(id, Send { room, what: What::Ephemeral(event), ack });
            }
            Action::Nothing => self.acknowledge(id, ack, Ok(Done::EMPTY)),
            Action::Refresh { token } => {
                let result = self.context().keys.verify(&token);
                let Some(session) = self.socket(id).and_then(Socket::session) else { return };
                let outcome = session.refreshed(result);
                self.acknowledge(id, ack, outcome);
            }
        }
    }

    /// Takes an event from the budgets of its user and its room. Deletions are not refused for what
    /// others send: they are how a moderator ends a flood.
    fn charge(
        &mut self,
        id: SocketId,
        room: RoomId,
        event: &StoredEvent,
    ) -> Result<(), OverBudget> {
        let Some(user) = self.socket(id).and_then(Socket::session).map(|session| session.user())
        else {
            return Ok(());
        };
        let publish = &self.context().publish;
        publish.charge_user(user)?;
        if matches!(event, StoredEvent::MsgDeleted { .. }) {
            return Ok(());
        }
        publish.charge_room(room)
    }

    fn read_up_to(&mut self, id: SocketId, room: RoomId, seq: Seq, ack: Option<u64>) {
        let key = self.room_keys.get(&room).copied();
        let newest =
            key.and_then(|key| self.rooms.get(key)).map_or(Seq::ZERO, |room| room.log.newest());
        let Some(session) = self.socket(id).and_then(Socket::session) else { return };
        if seq > newest {
            let refusal = Refusal::new(Code::InvalidValue, "seq: past the room's newest event");
            return self.acknowledge(id, ack, Err(refusal));
        }
        let user = session.user();
        // The room's budget is for what is delivered: in a big room everybody reads every message.
        if let Err(over) = self.context().publish.charge_user(user) {
            return self.acknowledge(id, ack, Err(over.into()));
        }
        let Some(session) = self.socket(id).and_then(Socket::session) else { return };
        session.has_read(room, seq);
        self.send(id, Send { room, what: What::Read { user, seq }, ack });
    }

    /// Has a user's sessions know what they are in a room. Whoever is removed is out of it, and gets
    /// what was delivered before.
    pub fn member_changed(&mut self, room: RoomId, user: UserId, state: MemberState) {
        let Some(&key) = self.room_keys.get(&room) else { return };
        for id in self.sockets_of(room, user) {
            let Some(session) = self.socket(id).and_then(Socket::session) else { continue };
            if session.member_changed(room, state).is_ok() {
                continue;
            }
            let place = self.socket(id).and_then(|socket| socket.place(key));
            if let (Some(place), Some(local)) = (place, self.rooms.get(key)) {
                let frames: Vec<Bytes> = local.log.shared_after(place.cursor).collect();
                frames.into_iter().for_each(|frames| self.push_shared(id, frames));
            }
            self.detach(id, room);
        }
    }

    /// Queues a frame for one user's sockets in a room.
    pub fn push_to_user(&mut self, room: RoomId, user: UserId, frame: &Bytes) {
        for id in self.sockets_of(room, user) {
            self.push(id, frame.clone());
        }
    }

    fn sockets_of(&mut self, room: RoomId, user: UserId) -> Vec<SocketId> {
        let key = self.room_keys.get(&room).copied();
        let members = key.and_then(|key| self.rooms.get(key)).map(|room| room.members.clone());
        let mut members = members.unwrap_or_default();
        members.retain(|&id| {
            let session = self.socket(id).and_then(Socket::session);
            session.is_some_and(|session| session.user() == user)
        });
        members
    }
}
