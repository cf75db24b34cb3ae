//! What a socket may do: pure rules, without I/O. An event goes in, what is to be done comes out.

use std::{sync::Arc, time::Instant};

use protocol::{
    Code, DisplayName, FileId, MessageId, RoomId, SessionId, Timestamp, UserId,
    code::Refusal,
    event::{ClientEvent, Done, JoinRoom, SendMsg},
    stored::{Message, Person, StoredEvent},
    subject::{self, Revoked},
    token::{Access, Role, Ticket, TokenError, Verifier},
};

use crate::{config::Limits, revoked::RevokedSet};

/// What all sessions of a gateway decide by.
pub struct Rules {
    pub limits: Limits,
    pub revoked: RevokedSet,
}

/// A socket whose user is known. It exists only by [`Session::new`], from a verified token.
pub struct Session {
    access: Access,
    rules: Arc<Rules>,
    memberships: Vec<Membership>,
    budget: Budget,
}

struct Membership {
    room: RoomId,
    role: Role,
    name: DisplayName,
    /// The room has confirmed it; before that the socket is not in the room.
    joined: bool,
}

/// What is to be done for an event.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask the room to take the socket in.
    Join { room: RoomId, person: Person, after: Option<u64> },
    /// Tell the room what the user is called now.
    Rename { room: RoomId, person: Person },
    /// Tell the room that the socket left.
    Leave { room: RoomId },
    /// Store an event. `file` must be looked up first and put into it.
    Store { room: RoomId, id: String, event: StoredEvent, file: Option<FileId> },
    /// Verify this token, then call [`Session::refreshed`].
    Refresh { token: String },
}

/// Tokens that refill at the limit's rate up to its burst.
struct Budget {
    tokens: f64,
    at: Instant,
}

impl Budget {
    fn take(&mut self, limits: &Limits, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + elapsed * limits.event_rate).min(limits.event_burst);
        self.at = now;
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

/// The refusal of a connection for its token.
pub fn token_refusal(error: TokenError) -> Refusal {
    let code = match error {
        TokenError::Expired => Code::TokenExpired,
        TokenError::WrongKind => Code::TokenWrongKind,
        TokenError::Invalid | TokenError::UnknownKey => Code::TokenInvalid,
    };
    Refusal::new(code, error.to_string())
}

fn ticket_refusal(error: TokenError) -> Refusal {
    let code = match error {
        TokenError::Expired => Code::TicketExpired,
        TokenError::WrongKind => Code::TicketWrongKind,
        TokenError::Invalid | TokenError::UnknownKey => Code::TicketInvalid,
    };
    Refusal::new(code, format!("{error}; enter the room again for a new ticket"))
}

impl Session {
    /// Starts a session, unless it was revoked.
    pub fn new(access: Access, rules: Arc<Rules>, now: Instant) -> Result<Self, Refusal> {
        let owners = [Revoked::Session(access.session), Revoked::User(access.user)];
        if rules.revoked.contains_any(&owners) {
            return Err(Refusal::new(Code::SessionRevoked, "the session is over; log in again"));
        }
        let budget = Budget { tokens: rules.limits.event_burst, at: now };
        Ok(Self { access, rules, memberships: Vec::new(), budget })
    }

    /// The user.
    pub fn user(&self) -> UserId {
        self.access.user
    }

    /// The login session.
    pub fn session(&self) -> SessionId {
        self.access.session
    }

    /// When the access token expires, in seconds since the Unix epoch.
    pub fn expires(&self) -> i64 {
        self.access.exp
    }

    /// Decides on an event.
    pub fn on_event(&mut self, event: ClientEvent, verifier: &Verifier) -> Result<Action, Refusal> {
        match event {
            ClientEvent::JoinRoom(join) => self.join(join, verifier),
            ClientEvent::LeaveRoom(leave) => {
                self.membership(leave.room_id)?;
                self.forget(leave.room_id);
                Ok(Action::Leave { room: leave.room_id })
            }
            ClientEvent::New(new) => {
                self.membership(new.room_id)?.name = new.msg;
                Ok(Action::Rename { room: new.room_id, person: self.person(new.room_id)? })
            }
            ClientEvent::SendMsg(send) => self.send(send),
            ClientEvent::RoomBroadcast(notice) => {
                let from = self.moderator(notice.room_id)?;
                self.check_text(notice.msg.chars(), notice.msg.is_blank())?;
                let event =
                    StoredEvent::RoomBroadcast { from, msg: notice.msg, at: Timestamp::now() };
                Ok(self.store(notice.room_id, MessageId::generate(), event, None))
            }
            ClientEvent::Refresh(refresh) => Ok(Action::Refresh { token: refresh.token }),
            ClientEvent::EditMsg(_)
            | ClientEvent::DeleteMsg(_)
            | ClientEvent::React(_)
            | ClientEvent::Typing(_)
            | ClientEvent::Read(_)
            | ClientEvent::Signal(_) => {
                Err(Refusal::new(Code::NotImplemented, "this gateway does not serve it yet"))
            }
        }
    }

    /// Whether another event may be looked at now. Asked before it is parsed.
    pub fn may_act(&mut self, now: Instant) -> Result<(), Refusal> {
        if self.budget.take(&self.rules.limits, now) {
            return Ok(());
        }
        Err(Refusal::new(Code::RateLimited, "too many events; wait a second and send it again"))
    }

    /// A new access token of the same user takes the old one's place.
    pub fn refreshed(&mut self, result: Result<Access, TokenError>) -> Result<Done, Refusal> {
        let access = result.map_err(token_refusal)?;
        if access.user != self.access.user {
            return Err(Refusal::new(Code::WrongUser, "the token is another user's"));
        }
        self.access = access;
        Ok(Done::Nothing {})
    }

    fn join(&mut self, join: JoinRoom, verifier: &Verifier) -> Result<Action, Refusal> {
        let JoinRoom { room_id: room, user_id, ticket, after } = join;
        if user_id != self.user() {
            return Err(Refusal::new(Code::WrongUser, "userId is not the user of this socket"));
        }
        let ticket: Ticket = verifier.ticket(&ticket).map_err(ticket_refusal)?;
        if ticket.user != self.user() {
            return Err(Refusal::new(Code::TicketWrongUser, "the ticket is another user's"));
        }
        if ticket.room != room {
            return Err(Refusal::new(Code::TicketWrongRoom, "the ticket is for another room"));
        }
        if self.rules.revoked.contains_any(&[Revoked::Room(room)]) {
            return Err(Refusal::new(Code::RoomDeleted, "the room was deleted"));
        }
        if self.rules.revoked.contains_any(&[Revoked::Member(room, ticket.user)]) {
            return Err(Refusal::new(Code::Forbidden, "you were removed from the room"));
        }
        self.forget(room);
        if self.memberships.len() >= self.rules.limits.rooms_per_socket {
            return Err(Refusal::new(
                Code::TooManyRooms,
                "leave another room first, or open a second socket",
            ));
        }
        let person = Person { id: ticket.user, name: ticket.name.clone() };
        let Ticket { role, name, .. } = ticket;
        self.memberships.push(Membership { room, role, name, joined: false });
        Ok(Action::Join { room, person, after })
    }

    /// The room took the socket in. False if the socket has left again meanwhile.
    pub fn joined(&mut self, room: RoomId) -> bool {
        match self.memberships.iter_mut().find(|membership| membership.room == room) {
            Some(membership) => {
                membership.joined = true;
                true
            }
            None => false,
        }
    }

    /// The socket is no longer in the room.
    pub fn forget(&mut self, room: RoomId) {
        self.memberships.retain(|membership| membership.room != room);
    }

    fn send(&mut self, send: SendMsg) -> Result<Action, Refusal> {
        let SendMsg { room_id: room, name, msg, id, file_id, reply_to } = send;
        let mut from = self.person(room)?;
        self.check_text(msg.chars(), msg.is_blank() && file_id.is_none())?;
        if let Some(name) = name {
            from.name = name;
        }
        let id = id.unwrap_or_else(MessageId::generate);
        let at = Timestamp::now();
        let event = StoredEvent::ReceiveMsg(Message { id, from, msg, at, file: None, reply_to });
        Ok(self.store(room, id, event, file_id))
    }

    fn store(
        &self,
        room: RoomId,
        id: MessageId,
        event: StoredEvent,
        file: Option<FileId>,
    ) -> Action {
        Action::Store { room, id: subject::message_id(self.user(), room, id), event, file }
    }

    fn check_text(&self, chars: usize, is_blank: bool) -> Result<(), Refusal> {
        if is_blank {
            return Err(Refusal::new(Code::MessageEmpty, "a message has text or a file"));
        }
        let limit = self.rules.limits.message_chars;
        if chars > limit {
            let detail = format!("a message has at most {limit} characters, this one has {chars}");
            return Err(Refusal::new(Code::MessageTooLong, detail));
        }
        Ok(())
    }

    fn membership(&mut self, room: RoomId) -> Result<&mut Membership, Refusal> {
        self.memberships
            .iter_mut()
            .find(|membership| membership.room == room && membership.joined)
            .ok_or(Refusal::new(Code::NotJoined, "join the room first"))
    }

    fn person(&mut self, room: RoomId) -> Result<Person, Refusal> {
        let id = self.user();
        self.membership(room).map(|membership| Person { id, name: membership.name.clone() })
    }

    fn moderator(&mut self, room: RoomId) -> Result<Person, Refusal> {
        if self.membership(room)?.role < Role::Moderator {
            return Err(Refusal::new(Code::Forbidden, "only owners and moderators may do this"));
        }
        self.person(room)
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
