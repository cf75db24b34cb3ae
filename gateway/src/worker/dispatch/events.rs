//! Events of a socket: the session decides on each, and the worker performs the decision.

use std::time::Instant;

use protocol::{
    Code, MessageId, Timestamp,
    code::Refusal,
    event::{ClientEvent, Done},
    token::Verifier,
};

use super::Worker;
use crate::{
    command::RoomCommand,
    session::{Action, Moment},
    wire::sid::{SocketId, SocketRef},
    worker::socket::{OutgoingEvent, OutgoingItem},
};

impl Worker {
    /// Performs an event. If it contains a token with an unknown key, the keys are fetched first.
    pub fn on_event(&mut self, id: SocketId, event: ClientEvent, ack: Option<u64>) {
        metrics::counter!("chat_gateway_events_total", "event" => event.name()).increment(1);
        let Some(verifier) = self.context.keys.verifier() else {
            let refusal =
                Refusal::new(Code::Unavailable, "the gateway has no public keys yet; try again");
            return self.sockets.acknowledge(id, ack, Err(refusal));
        };
        let token = match &event {
            ClientEvent::JoinRoom(join) => Some(&join.ticket),
            ClientEvent::Refresh(refresh) => Some(&refresh.token),
            _ => None,
        };
        if !token.is_some_and(|token| verifier.lacks_key_of(token)) {
            return self.perform(id, event, ack, &verifier);
        }
        let Some(socket) = self.sockets.get_mut(id) else { return };
        // Later events of the socket must not overtake this one.
        socket.gate_mut().await_key(true);
        let (worker, keys) = (self.me.clone(), self.context.keys.clone());
        tokio::task::spawn_local(async move {
            keys.fetch_again().await;
            let Some(worker) = worker.upgrade() else { return };
            let mut worker = worker.borrow_mut();
            let Some(socket) = worker.sockets.get_mut(id) else { return };
            socket.gate_mut().await_key(false);
            if let Some(verifier) = keys.verifier() {
                worker.perform(id, event, ack, &verifier);
            }
            // Reading resumes when the socket is flushed.
            worker.sockets.mark(id);
        });
    }

    /// Performs the session's decision on an event.
    fn perform(&mut self, id: SocketId, event: ClientEvent, ack: Option<u64>, verifier: &Verifier) {
        let Some(session) = self.sockets.session_mut(id) else { return };
        let (user, name) = (session.user(), event.name());
        let moment =
            Moment { now: Instant::now(), at: Timestamp::now(), new_id: MessageId::generate };
        let outcome = match session.on_event(event, verifier, moment) {
            Err(refusal) => Err(refusal),
            Ok(Action::Ignore) => Ok(Done::EMPTY),
            Ok(Action::Join { room, person, after }) => {
                self.rooms.leave(id, room, &mut self.sockets);
                let socket = SocketRef { worker: self.index, id };
                let join = RoomCommand::Join { socket, person, after, ack };
                let Some(state) = self.sockets.get_mut(id) else { return };
                match self.context.rooms.send(room, join) {
                    // The room's answer completes the join.
                    Ok(()) => return state.gate_mut().begin_join(),
                    Err(_) => {
                        if let Some(session) = state.session_mut() {
                            session.forget(room);
                        }
                        Err(Refusal::new(Code::Busy, "the room is busy; try again"))
                    }
                }
            }
            Ok(Action::Rename { room, person }) => {
                self.rooms.link().send(room, RoomCommand::Rename { person });
                Ok(Done::EMPTY)
            }
            Ok(Action::Leave { room }) => {
                self.rooms.leave(id, room, &mut self.sockets);
                Ok(Done::EMPTY)
            }
            Ok(Action::Refresh { token }) => {
                session.refresh(self.context.keys.verify(&token), moment.now)
            }
            Ok(Action::Store { room, id: dedupe_id, event, needs, look_up }) => {
                match self.context.charge(user, room, &event) {
                    Ok(()) => {
                        let event = OutgoingEvent::Stored { id: dedupe_id, event, needs, look_up };
                        let span = self.sockets.get(id).and_then(|socket| socket.span(name));
                        return self.publish(id, OutgoingItem { room, event, ack, span });
                    }
                    Err(over) => Err(over.into()),
                }
            }
            Ok(Action::Read { room, seq }) if seq > self.rooms.newest(room) => {
                Err(Refusal::new(Code::InvalidValue, "seq: past the room's newest event"))
            }
            // Not charged to the room: its budget bounds delivered events, and in a big room every user sends a
            // read mark for every message.
            Ok(Action::Read { room, seq }) => match self.context.publish.charge_user(user) {
                Ok(()) => {
                    session.has_read(room, seq);
                    let event = OutgoingEvent::Read { user, seq };
                    let span = self.sockets.get(id).and_then(|socket| socket.span(name));
                    return self.publish(id, OutgoingItem { room, event, ack, span });
                }
                Err(over) => Err(over.into()),
            },
            Ok(Action::Ephemeral { room, event }) => {
                let event = OutgoingEvent::Ephemeral(event);
                return self.publish(id, OutgoingItem { room, event, ack, span: None });
            }
        };
        self.sockets.acknowledge(id, ack, outcome);
    }
}
