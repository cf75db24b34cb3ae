//! Decisions on a client's events.

use std::time::Instant;

use protocol::{
    Code, MessageId, RoomId, UserId,
    code::Refusal,
    event::{ClientEvent, JoinRoom, SendMsg},
    stored::{Message, Person, StoredEvent},
    subject::{self, Revoked},
    token::{Ticket, Verifier},
};

use super::Session;
use crate::{
    ephemeral::EphemeralEvent,
    session::{
        action::{Action, Moment, Needs},
        membership::Membership,
        rules::ticket_refusal,
    },
};

impl Session {
    /// Decides on an event.
    pub fn on_event(
        &mut self,
        event: ClientEvent,
        verifier: &Verifier,
        moment: Moment,
    ) -> Result<Action, Refusal> {
        let at = moment.at;
        match event {
            ClientEvent::JoinRoom(join) => self.join(join, verifier),
            ClientEvent::LeaveRoom(leave) => {
                self.memberships.joined(leave.room_id)?;
                self.forget(leave.room_id);
                Ok(Action::Leave { room: leave.room_id })
            }
            ClientEvent::New(new) => {
                self.memberships.joined(new.room_id)?.rename(new.msg);
                Ok(Action::Rename { room: new.room_id, person: self.person(new.room_id)? })
            }
            ClientEvent::SendMsg(send) => self.send(send, moment),
            ClientEvent::EditMsg(edit) => {
                let by = self.person(edit.room_id)?.id;
                self.rules.check_text(&edit.msg, false)?;
                let target = edit.seq;
                let event = StoredEvent::MsgEdited { target, msg: edit.msg, by, at };
                let needs = Needs::Message { seq: target, author: Some(by) };
                Ok(self.store(edit.room_id, event, needs, moment))
            }
            ClientEvent::DeleteMsg(delete) => {
                let by = self.person(delete.room_id)?.id;
                let author = self.moderator(delete.room_id).is_err().then_some(by);
                let target = delete.seq;
                let event = StoredEvent::MsgDeleted { target, by, at };
                let needs = Needs::Message { seq: target, author };
                Ok(self.store(delete.room_id, event, needs, moment))
            }
            ClientEvent::React(react) => {
                let by = self.person(react.room_id)?;
                let (target, emoji, on) = (react.seq, react.emoji, react.on);
                let event = StoredEvent::Reaction { target, emoji, on, by, at };
                let needs = Needs::Message { seq: target, author: None };
                Ok(self.store(react.room_id, event, needs, moment))
            }
            ClientEvent::Typing(typing) => self.typing(typing.room_id, typing.on, moment.now),
            ClientEvent::Read(read) => {
                let membership = self.memberships.joined(read.room_id)?;
                if read.seq <= membership.read() {
                    return Ok(Action::Ignore);
                }
                Ok(Action::Read { room: read.room_id, seq: read.seq })
            }
            ClientEvent::Signal(signal) => {
                let from = self.person(signal.room_id)?;
                let event = EphemeralEvent::Signal { from, to: signal.to, data: signal.data };
                Ok(Action::Ephemeral { room: signal.room_id, event })
            }
            ClientEvent::RoomBroadcast(notice) => {
                let from = self.moderator(notice.room_id)?;
                self.rules.check_text(&notice.msg, false)?;
                let event = StoredEvent::RoomBroadcast { from, msg: notice.msg, at };
                Ok(self.store(notice.room_id, event, Needs::Nothing, moment))
            }
            ClientEvent::Refresh(refresh) => Ok(Action::Refresh { token: refresh.token }),
        }
    }

    fn join(&mut self, join: JoinRoom, verifier: &Verifier) -> Result<Action, Refusal> {
        let JoinRoom { room_id: room, user_id, ticket, after } = join;
        let user = self.user();
        if user_id != user {
            return Err(Refusal::new(Code::WrongUser, "userId is not the user of this socket"));
        }
        let ticket: Ticket = verifier.ticket(&ticket).map_err(ticket_refusal)?;
        if ticket.user != user {
            return Err(Refusal::new(Code::TicketWrongUser, "the ticket is for another user"));
        }
        if ticket.room != room {
            return Err(Refusal::new(Code::TicketWrongRoom, "the ticket is for another room"));
        }
        if self.rules.revoked.contains_any(&[Revoked::Room(room)]) {
            return Err(Refusal::new(Code::RoomDeleted, "the room was deleted"));
        }
        let Ticket { role, version, name, .. } = ticket;
        let mut membership = Membership::new(room, role, version, name.clone());
        if let Some(state) = self.rules.revoked.member(room, user) {
            membership.change(state)?;
        }
        self.memberships.add(membership, self.rules.limits.rooms_per_socket)?;
        Ok(Action::Join { room, person: Person { id: user, name }, after })
    }

    fn send(&mut self, send: SendMsg, moment: Moment) -> Result<Action, Refusal> {
        let SendMsg { room_id: room, name, msg, id, file_id, reply_to } = send;
        let mut from = self.person(room)?;
        self.rules.check_text(&msg, file_id.is_some())?;
        if let Some(name) = name {
            from.name = name;
        }
        let Moment { at, new_id, .. } = moment;
        let look_up = id.is_some_and(|id| !id.is_fresh(at));
        let id = id.unwrap_or_else(new_id);
        let event = StoredEvent::ReceiveMsg(Message { id, from, msg, at, file: None, reply_to });
        let needs = file_id.map_or(Needs::Nothing, Needs::File);
        let id = self.dedupe_id(room, id);
        Ok(Action::Store { room, id, event, needs, look_up })
    }

    /// Stores an event under a new id.
    fn store(&self, room: RoomId, event: StoredEvent, needs: Needs, moment: Moment) -> Action {
        let id = self.dedupe_id(room, (moment.new_id)());
        Action::Store { room, id, event, needs, look_up: false }
    }

    fn dedupe_id(&self, room: RoomId, id: MessageId) -> String {
        subject::message_id(self.user(), room, id)
    }

    fn typing(&mut self, room: RoomId, on: bool, now: Instant) -> Result<Action, Refusal> {
        let user = self.person(room)?;
        if !self.memberships.joined(room)?.set_typing(on, now) {
            return Ok(Action::Ignore);
        }
        Ok(Action::Ephemeral { room, event: EphemeralEvent::Typing { user, on } })
    }

    /// The user as shown in the room.
    fn person(&mut self, room: RoomId) -> Result<Person, Refusal> {
        let id: UserId = self.user();
        let membership = self.memberships.joined(room)?;
        Ok(Person { id, name: membership.name().clone() })
    }

    /// The same, if the user is a moderator or an owner.
    fn moderator(&mut self, room: RoomId) -> Result<Person, Refusal> {
        self.memberships.joined(room)?.check_moderator()?;
        self.person(room)
    }
}
