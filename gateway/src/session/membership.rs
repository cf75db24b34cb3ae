//! The memberships of a socket's user in the rooms of the socket.

use std::time::{Duration, Instant};

use protocol::{Code, DisplayName, Role, RoomId, Seq, code::Refusal, subject::MemberState};

use super::rules::not_joined;

/// How often repeated `typing` events of one user are relayed. Receivers show "is typing" for some seconds.
const TYPING_EVERY: Duration = Duration::from_secs(2);

/// A user's membership in a room that the socket has joined or is about to join.
pub struct Membership {
    room: RoomId,
    role: Role,
    /// The version of the membership at which `role` was set.
    version: u64,
    name: DisplayName,
    /// The room has accepted the socket.
    joined: bool,
    /// The last `typing` event that was relayed, and when.
    typing: Option<(bool, Instant)>,
    /// The user's read mark, as reported by this socket.
    read: Seq,
}

impl Membership {
    /// A membership from a ticket, before the room has accepted the socket.
    pub fn new(room: RoomId, role: Role, version: u64, name: DisplayName) -> Self {
        Self { room, role, version, name, joined: false, typing: None, read: Seq::ZERO }
    }

    /// Applies a membership's state, unless a newer one is known. Refuses a user who was removed.
    pub fn change(&mut self, state: MemberState) -> Result<(), Refusal> {
        let MemberState { version, role } = state;
        if version <= self.version {
            return Ok(());
        }
        self.role = role.ok_or(Refusal::new(Code::Forbidden, "you were removed from the room"))?;
        self.version = version;
        Ok(())
    }

    pub fn name(&self) -> &DisplayName {
        &self.name
    }

    pub fn rename(&mut self, name: DisplayName) {
        self.name = name;
    }

    /// Refuses a user who is neither owner nor moderator.
    pub fn check_moderator(&self) -> Result<(), Refusal> {
        if self.role < Role::Moderator {
            return Err(Refusal::new(Code::Forbidden, "only owners and moderators may do this"));
        }
        Ok(())
    }

    /// Notes whether the user is typing. False if the event need not be relayed.
    pub fn set_typing(&mut self, on: bool, now: Instant) -> bool {
        let is_news = match self.typing {
            None => on,
            Some((was, at)) => was != on || (on && now.duration_since(at) >= TYPING_EVERY),
        };
        if is_news {
            self.typing = Some((on, now));
        }
        is_news
    }

    /// The read mark.
    pub fn read(&self) -> Seq {
        self.read
    }

    /// Moves the read mark forward.
    pub fn set_read(&mut self, seq: Seq) {
        self.read = self.read.max(seq);
    }

    #[cfg(test)]
    pub fn role(&self) -> Role {
        self.role
    }
}

/// A socket's memberships, one for each room.
#[derive(Default)]
pub struct Memberships(Vec<Membership>);

impl Memberships {
    fn find(&mut self, room: RoomId) -> Result<&mut Membership, Refusal> {
        self.0.iter_mut().find(|membership| membership.room == room).ok_or_else(not_joined)
    }

    /// The membership in a room that has accepted the socket.
    pub fn joined(&mut self, room: RoomId) -> Result<&mut Membership, Refusal> {
        let membership = self.find(room)?;
        if membership.joined { Ok(membership) } else { Err(not_joined()) }
    }

    /// Adds a membership, in place of an earlier one in the same room.
    pub fn add(&mut self, membership: Membership, max_rooms: usize) -> Result<(), Refusal> {
        self.forget(membership.room);
        if self.0.len() >= max_rooms {
            return Err(Refusal::new(
                Code::TooManyRooms,
                "leave another room first, or open a second socket",
            ));
        }
        self.0.push(membership);
        Ok(())
    }

    /// The room has accepted the socket.
    pub fn confirm(&mut self, room: RoomId) -> Result<(), Refusal> {
        self.find(room)?.joined = true;
        Ok(())
    }

    /// See [`Membership::change`]. A refused membership is removed.
    pub fn change(&mut self, room: RoomId, state: MemberState) -> Result<(), Refusal> {
        self.find(room)?.change(state).inspect_err(|_| self.forget(room))
    }

    /// The socket is no longer in the room.
    pub fn forget(&mut self, room: RoomId) {
        self.0.retain(|membership| membership.room != room);
    }
}
