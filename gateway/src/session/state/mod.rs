//! The session of an authenticated socket.

mod events;

use std::{sync::Arc, time::Instant};

use protocol::{
    Code, RoomId, Seq, SessionId, UserId,
    code::Refusal,
    event::Done,
    subject::{MemberState, Revoked},
    token::{Access, TokenError},
};

use super::{
    membership::Memberships,
    rules::{Rules, token_refusal},
};
use crate::rate::RateLimiter;

/// The session of a socket whose user is known. Created only from a verified token.
pub struct Session {
    access: Access,
    /// When the client presented its token.
    shown_at: Instant,
    rules: Arc<Rules>,
    memberships: Memberships,
    events: RateLimiter,
    /// For `join-room` and `leave-room`: after a reconnect, a client joins all its rooms at once.
    joins: RateLimiter,
}

impl Session {
    /// Starts a session, unless it was revoked.
    pub fn new(access: Access, rules: Arc<Rules>, now: Instant) -> Result<Self, Refusal> {
        rules.check_revoked(&access)?;
        let (events, joins) = (RateLimiter::new(now), RateLimiter::new(now));
        let memberships = Memberships::default();
        Ok(Self { access, shown_at: now, rules, memberships, events, joins })
    }

    /// When the client presented its token.
    pub fn shown_at(&self) -> Instant {
        self.shown_at
    }

    pub fn user(&self) -> UserId {
        self.access.user
    }

    /// The id of the login session.
    pub fn session(&self) -> SessionId {
        self.access.session
    }

    /// When the access token expires, in seconds since the Unix epoch.
    pub fn expires(&self) -> i64 {
        self.access.exp
    }

    /// Whether a revocation ends the whole session. Those of rooms and memberships do not.
    pub fn is_ended_by(&self, revoked: Revoked) -> bool {
        match revoked {
            Revoked::Session(id) => self.session() == id,
            Revoked::User(id) => self.user() == id,
            Revoked::Room(_) | Revoked::Member(..) => false,
        }
    }

    /// Applies the rate limits to an event of this name, before the event is parsed.
    pub fn allow(&mut self, event: &str, now: Instant) -> Result<(), Refusal> {
        let limits = &self.rules.limits;
        let is_allowed = match event {
            "join-room" | "leave-room" => self.joins.admit(limits.joins(), now),
            _ => self.events.admit(limits.events(), now),
        };
        if is_allowed {
            return Ok(());
        }
        Err(Refusal::new(Code::RateLimited, "too many events; wait a second and send it again"))
    }

    /// Replaces the access token by a new one of the same user.
    pub fn refresh(
        &mut self,
        result: Result<Access, TokenError>,
        now: Instant,
    ) -> Result<Done, Refusal> {
        let access = result.map_err(token_refusal)?;
        if access.user != self.access.user {
            return Err(Refusal::new(Code::WrongUser, "the token is another user's"));
        }
        self.rules.check_revoked(&access)?;
        (self.access, self.shown_at) = (access, now);
        Ok(Done::EMPTY)
    }

    /// The room accepted the socket. Refused if the socket has left in the meantime, or if its user was
    /// removed: that change did not apply to the socket, because it was not in the room yet.
    pub fn joined(&mut self, room: RoomId) -> Result<(), Refusal> {
        if let Some(state) = self.rules.revoked.member(room, self.access.user) {
            self.member_changed(room, state)?;
        }
        self.memberships.confirm(room)
    }

    /// The user's membership in a room changed. An error means that the socket is not, or no longer, in the
    /// room.
    pub fn member_changed(&mut self, room: RoomId, state: MemberState) -> Result<(), Refusal> {
        self.memberships.change(room, state)
    }

    /// The socket is no longer in the room.
    pub fn forget(&mut self, room: RoomId) {
        self.memberships.forget(room);
    }

    /// The user has read the room up to `seq`.
    pub fn has_read(&mut self, room: RoomId, seq: Seq) {
        if let Ok(membership) = self.memberships.joined(room) {
            membership.set_read(seq);
        }
    }
}

#[cfg(test)]
mod tests;
