//! Tests of [`Session`], sorted by subject. A [`World`] signs tokens and holds the rules.

mod events;
mod membership;
mod properties;
mod session;

use std::time::Duration;

use protocol::{
    DisplayName, MessageId, Role, Timestamp,
    event::{ClientEvent, JoinRoom},
    stored::StoredEvent,
    token::{Minter, Ticket, Verifier},
};

use super::*;
use crate::{
    config::Limits,
    revoked::{Revocation, RevokedSet},
    session::action::{Action, Moment, Needs},
};

/// The public example key of RFC 8410.
const PEM: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
    -----END PRIVATE KEY-----\n";

struct World {
    minter: Minter,
    verifier: Verifier,
    rules: Arc<Rules>,
    now: Instant,
}

impl World {
    fn new() -> Self {
        let minter = Minter::from_pem(&PEM.into()).unwrap();
        let verifier = Verifier::new(minter.jwks());
        let limits = Limits { rooms_per_socket: 2, message_chars: 5, ..Limits::default() };
        let rules = Arc::new(Rules { limits, revoked: RevokedSet::default() });
        Self { minter, verifier, rules, now: Instant::now() }
    }

    fn session(&self) -> Session {
        let exp = Timestamp::now().unix() + 60;
        let access = Access { user: UserId::generate(), session: SessionId::generate(), exp };
        Session::new(access, self.rules.clone(), self.now).unwrap()
    }

    fn ticket(&self, session: &Session, room: RoomId, role: Role) -> Ticket {
        Ticket {
            user: session.user(),
            session: session.session(),
            room,
            role,
            version: 0,
            name: DisplayName::parse("Ada").unwrap(),
            exp: Timestamp::now().unix() + 60,
        }
    }

    fn join(&self, session: &mut Session, room: RoomId, ticket: Ticket) -> Result<Action, Refusal> {
        let ticket = self.minter.sign_ticket(ticket).unwrap();
        let join = JoinRoom { room_id: room, user_id: session.user(), ticket, after: None };
        session.on_event(ClientEvent::JoinRoom(join), &self.verifier, moment(self.now))
    }

    fn joined(&self, session: &mut Session, role: Role) -> RoomId {
        let room = RoomId::generate();
        let ticket = self.ticket(session, room, role);
        self.join(session, room, ticket).unwrap();
        session.joined(room).unwrap();
        room
    }

    /// Joins with a ticket of this version.
    fn enter(&self, session: &mut Session, room: RoomId, version: u64) -> Result<(), Refusal> {
        let ticket = Ticket { version, ..self.ticket(session, room, Role::Member) };
        self.join(session, room, ticket)?;
        session.joined(room)
    }

    fn may_broadcast(&self, session: &mut Session, room: RoomId) -> Result<(), Refusal> {
        let notice = format!(r#"{{"roomId":"{room}","msg":"x"}}"#);
        self.event(session, "room-broadcast", &notice).map(drop)
    }

    /// Applies an entry of the bucket of revocations as the gateway does.
    fn hear(&self, session: &mut Session, room: RoomId, version: u64, role: Option<Role>) {
        let state = MemberState { version, role };
        if self.rules.revoked.insert(Revocation::Member(room, session.user(), state)) {
            let _ = session.member_changed(room, state);
        }
    }

    fn event(&self, session: &mut Session, name: &str, data: &str) -> Result<Action, Refusal> {
        self.event_at(session, name, data, self.now)
    }

    fn event_at(
        &self,
        session: &mut Session,
        name: &str,
        data: &str,
        now: Instant,
    ) -> Result<Action, Refusal> {
        session.on_event(ClientEvent::parse(name, data.as_bytes())?, &self.verifier, moment(now))
    }
}

fn moment(now: Instant) -> Moment {
    Moment { now, at: Timestamp::now(), new_id: MessageId::generate }
}

fn code(result: Result<Action, Refusal>) -> Code {
    result.unwrap_err().code
}
