//! What a socket may do: pure rules, without I/O. An event goes in, what is to be done comes out.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use protocol::{
    Code, DisplayName, MessageId, MessageText, Role, RoomId, Seq, SessionId, Timestamp, UserId,
    code::Refusal,
    event::{ClientEvent, Done, JoinRoom, SendMsg},
    message_rules,
    stored::{Message, Person, StoredEvent},
    subject::{self, MemberState, Revoked},
    token::{Access, Ticket, TokenError, Verifier},
};

use crate::{config::Limits, ephemeral::EphemeralEvent, rate::RateLimiter, revoked::RevokedSet};

/// A client that keeps saying that its user types is told on so often; who is typing is shown for
/// some seconds.
const TYPING_EVERY: Duration = Duration::from_secs(2);

/// What all sessions of a gateway decide by.
pub struct Rules {
    pub limits: Limits,
    pub revoked: RevokedSet,
}

/// A socket whose user is known. It exists only by [`Session::new`], from a verified token.
pub struct Session {
    access: Access,
    shown_at: Instant,
    rules: Arc<Rules>,
    memberships: Vec<Membership>,
    events: RateLimiter,
    /// For `join-room` and `leave-room`: after a reconnect a client joins all its rooms at once.
    joins: RateLimiter,
}

struct Membership {
    room: RoomId,
    role: Role,
    /// The room's version of which the role is.
    version: u64,
    name: DisplayName,
    /// The room has confirmed it; before that the socket is not in the room.
    joined: bool,
    /// What was told last of the user's typing, and when.
    typing: Option<(bool, Instant)>,
    /// Up to where the user has read, by this socket.
    read: Seq,
}

impl Membership {
    /// Takes in what the user is in the room, unless it is no newer than what is known. Refuses one
    /// who was removed.
    fn change(&mut self, state: MemberState) -> Result<(), Refusal> {
        let MemberState { version, role } = state;
        if version <= self.version {
            return Ok(());
        }
        self.role = role.ok_or(Refusal::new(Code::Forbidden, "you were removed from the room"))?;
        self.version = version;
        Ok(())
    }
}

/// What is to be done for an event.
#[derive(Debug)]
pub enum Action {
    /// Ask the room to take the socket in.
    Join { room: RoomId, person: Person, after: Option<Seq> },
    /// Tell the room what the user is called now.
    Rename { room: RoomId, person: Person },
    /// Tell the room that the socket left.
    Leave { room: RoomId },
    /// Store an event, if what it needs is there. `id` is what JetStream dedupes by. With `look_up`
    /// the message may be a retry that comes too late for that: it is stored only if it is certain
    /// that no earlier try was.
    Store { room: RoomId, id: String, event: StoredEvent, needs: Needs, look_up: bool },
    /// Store how far the user has read, unless it is past the room's newest event. Then call
    /// [`Session::has_read`].
    Read { room: RoomId, seq: Seq },
    /// Tell the room's sockets, on all gateways, and store nothing.
    Tell { room: RoomId, event: EphemeralEvent },
    /// Verify this token, then call [`Session::refreshed`].
    Refresh { token: String },
    /// Nothing that anyone would notice.
    Nothing,
}

/// What must be looked up before an event is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    Nothing,
    /// A complete file of the room, to be put into the message.
    File(protocol::FileId),
    /// A message of the room, by this author if one is named.
    Message {
        seq: Seq,
        author: Option<UserId>,
    },
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

/// The refusal of what only a socket in the room may do.
pub fn not_joined() -> Refusal {
    Refusal::new(Code::NotJoined, "join the room first")
}

fn not_revoked(rules: &Rules, access: &Access) -> Result<(), Refusal> {
    let owners = [Revoked::Session(access.session), Revoked::User(access.user)];
    if rules.revoked.contains_any(&owners) {
        return Err(Refusal::new(Code::SessionRevoked, "the session is over; log in again"));
    }
    Ok(())
}

impl Session {
    /// Starts a session, unless it was revoked.
    pub fn new(access: Access, rules: Arc<Rules>, now: Instant) -> Result<Self, Refusal> {
        not_revoked(&rules, &access)?;
        let (events, joins) = (RateLimiter::new(now), RateLimiter::new(now));
        Ok(Self { access, shown_at: now, rules, memberships: Vec::new(), events, joins })
    }

    /// When the token was shown.
    pub fn shown_at(&self) -> Instant {
        self.shown_at
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
    pub fn on_event(
        &mut self,
        event: ClientEvent,
        verifier: &Verifier,
        now: Instant,
    ) -> Result<Action, Refusal> {
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
            ClientEvent::EditMsg(edit) => {
                let by = self.person(edit.room_id)?.id;
                self.check_text(&edit.msg, false)?;
                let (target, at) = (edit.seq, Timestamp::now());
                let event = StoredEvent::MsgEdited { target, msg: edit.msg, by, at };
                Ok(self.change(edit.room_id, event, target, Some(by)))
            }
            ClientEvent::DeleteMsg(delete) => {
                let by = self.person(delete.room_id)?.id;
                let author = self.moderator(delete.room_id).is_err().then_some(by);
                let (target, at) = (delete.seq, Timestamp::now());
                let event = StoredEvent::MsgDeleted { target, by, at };
                Ok(self.change(delete.room_id, event, target, author))
            }
            ClientEvent::React(react) => {
                let by = self.person(react.room_id)?;
                let (target, at) = (react.seq, Timestamp::now());
                let event =
                    StoredEvent::Reaction { target, emoji: react.emoji, on: react.on, by, at };
                Ok(self.change(react.room_id, event, target, None))
            }
            ClientEvent::Typing(typing) => self.typing(typing.room_id, typing.on, now),
            ClientEvent::Read(read) => {
                let membership = self.membership(read.room_id)?;
                if read.seq <= membership.read {
                    return Ok(Action::Nothing);
                }
                Ok(Action::Read { room: read.room_id, seq: read.seq })
            }
            ClientEvent::Signal(signal) => {
                let from = self.person(signal.room_id)?;
                let event = EphemeralEvent::Signal { from, to: signal.to, data: signal.data };
                Ok(Action::Tell { room: signal.room_id, event })
            }
            ClientEvent::RoomBroadcast(notice) => {
                let from = self.moderator(notice.room_id)?;
                self.check_text(&notice.msg, false)?;
                let event =
                    StoredEvent::RoomBroadcast { from, msg: notice.msg, at: Timestamp::now() };
                Ok(self.store(notice.room_id, event, Needs::Nothing))
            }
            ClientEvent::Refresh(refresh) => Ok(Action::Refresh { token: refresh.token }),
        }
    }

    fn typing(&mut self, room: RoomId, on: bool, now: Instant) -> Result<Action, Refusal> {
        let user = self.person(room)?;
        let told = &mut self.membership(room)?.typing;
        let is_news = match *told {
            None => on,
            Some((was, at)) => was != on || (on && now.duration_since(at) >= TYPING_EVERY),
        };
        if !is_news {
            return Ok(Action::Nothing);
        }
        *told = Some((on, now));
        Ok(Action::Tell { room, event: EphemeralEvent::Typing { user, on } })
    }

    /// The user has read the room up to `seq`, which is stored.
    pub fn has_read(&mut self, room: RoomId, seq: Seq) {
        if let Ok(membership) = self.membership(room) {
            membership.read = membership.read.max(seq);
        }
    }

    /// Whether an event of this name may be looked at now. Asked before it is parsed.
    pub fn may_act(&mut self, event: &str, now: Instant) -> Result<(), Refusal> {
        let limits = &self.rules.limits;
        let is_within = match event {
            "join-room" | "leave-room" => self.joins.admit(limits.joins(), now),
            _ => self.events.admit(limits.events(), now),
        };
        if is_within {
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
        not_revoked(&self.rules, &access)?;
        (self.access, self.shown_at) = (access, Instant::now());
        Ok(Done::EMPTY)
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
        let person = Person { id: ticket.user, name: ticket.name.clone() };
        let Ticket { role, version, name, .. } = ticket;
        let joined = false;
        let mut membership =
            Membership { room, role, version, name, joined, typing: None, read: Seq::ZERO };
        if let Some(state) = self.rules.revoked.member(room, person.id) {
            membership.change(state)?;
        }
        self.forget(room);
        if self.memberships.len() >= self.rules.limits.rooms_per_socket {
            return Err(Refusal::new(
                Code::TooManyRooms,
                "leave another room first, or open a second socket",
            ));
        }
        self.memberships.push(membership);
        Ok(Action::Join { room, person, after })
    }

    /// The room took the socket in. Refused if the socket has left again meanwhile, or its user was
    /// removed: what became known then did not find the socket in the room.
    pub fn joined(&mut self, room: RoomId) -> Result<(), Refusal> {
        if let Some(state) = self.rules.revoked.member(room, self.access.user) {
            self.member_changed(room, state)?;
        }
        let mut memberships = self.memberships.iter_mut();
        memberships.find(|known| known.room == room).ok_or_else(not_joined)?.joined = true;
        Ok(())
    }

    /// What the user is in the room has changed. Refused if the socket is not in it any more.
    pub fn member_changed(&mut self, room: RoomId, state: MemberState) -> Result<(), Refusal> {
        let mut memberships = self.memberships.iter_mut();
        let membership = memberships.find(|known| known.room == room).ok_or_else(not_joined)?;
        membership.change(state).inspect_err(|_| self.forget(room))
    }

    /// The socket is no longer in the room.
    pub fn forget(&mut self, room: RoomId) {
        self.memberships.retain(|membership| membership.room != room);
    }

    fn send(&mut self, send: SendMsg) -> Result<Action, Refusal> {
        let SendMsg { room_id: room, name, msg, id, file_id, reply_to } = send;
        let mut from = self.person(room)?;
        self.check_text(&msg, file_id.is_some())?;
        if let Some(name) = name {
            from.name = name;
        }
        let at = Timestamp::now();
        let look_up = id.is_some_and(|id| !id.is_fresh(at));
        let id = id.unwrap_or_else(MessageId::generate);
        let event = StoredEvent::ReceiveMsg(Message { id, from, msg, at, file: None, reply_to });
        let needs = file_id.map_or(Needs::Nothing, Needs::File);
        let id = subject::message_id(self.user(), room, id);
        Ok(Action::Store { room, id, event, needs, look_up })
    }

    /// Stores an event under an id of ours, which nobody has sent before.
    fn store(&self, room: RoomId, event: StoredEvent, needs: Needs) -> Action {
        let id = subject::message_id(self.user(), room, MessageId::generate());
        Action::Store { room, id, event, needs, look_up: false }
    }

    /// Stores what happens to the message at `seq`.
    fn change(&self, room: RoomId, event: StoredEvent, seq: Seq, author: Option<UserId>) -> Action {
        self.store(room, event, Needs::Message { seq, author })
    }

    fn check_text(&self, text: &MessageText, has_file: bool) -> Result<(), Refusal> {
        let limit = self.rules.limits.message_chars;
        Ok(message_rules::check_text(text, has_file, limit)?)
    }

    fn membership(&mut self, room: RoomId) -> Result<&mut Membership, Refusal> {
        self.memberships
            .iter_mut()
            .find(|membership| membership.room == room && membership.joined)
            .ok_or_else(not_joined)
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
