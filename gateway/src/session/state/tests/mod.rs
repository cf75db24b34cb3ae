mod properties;

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

/// The key of RFC 8410's example, known to the world and used for nothing.
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

    /// What the gateway does with an entry of the bucket.
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
    Moment { now, at: Timestamp::now(), new_id: MessageId::generate() }
}

fn code(result: Result<Action, Refusal>) -> Code {
    result.unwrap_err().code
}

#[test]
fn only_a_fitting_ticket_joins() {
    let world = World::new();
    let mut session = world.session();
    let room = RoomId::generate();
    let ticket = world.ticket(&session, room, Role::Member);

    let other_user = Ticket { user: UserId::generate(), ..ticket.clone() };
    assert_eq!(code(world.join(&mut session, room, other_user)), Code::TicketWrongUser);
    let other_room = Ticket { room: RoomId::generate(), ..ticket.clone() };
    assert_eq!(code(world.join(&mut session, room, other_room)), Code::TicketWrongRoom);
    let expired = Ticket { exp: Timestamp::now().unix() - 60, ..ticket.clone() };
    assert_eq!(code(world.join(&mut session, room, expired)), Code::TicketExpired);

    let access = world.minter.access(session.user(), session.session()).unwrap();
    for (ticket, expected) in [(access.as_str(), Code::TicketWrongKind), ("x", Code::TicketInvalid)]
    {
        let user = session.user();
        let join = format!(r#"{{"roomId":"{room}","userId":"{user}","ticket":"{ticket}"}}"#);
        assert_eq!(code(world.event(&mut session, "join-room", &join)), expected);
    }
    let stranger = UserId::generate();
    let join = format!(r#"{{"roomId":"{room}","userId":"{stranger}","ticket":"x"}}"#);
    assert_eq!(code(world.event(&mut session, "join-room", &join)), Code::WrongUser);

    world.rules.revoked.insert(Revocation::Over(Revoked::Room(room)));
    assert_eq!(code(world.join(&mut session, room, ticket)), Code::RoomDeleted);
}

#[test]
fn a_removal_ends_what_older_tickets_gave_and_nothing_else() {
    let world = World::new();
    let mut session = world.session();
    let room = RoomId::generate();
    world.enter(&mut session, room, 4).unwrap();
    world.hear(&mut session, room, 5, None);
    assert_eq!(world.may_broadcast(&mut session, room).unwrap_err().code, Code::NotJoined);
    assert_eq!(world.enter(&mut session, room, 4).unwrap_err().code, Code::Forbidden);
    assert_eq!(world.enter(&mut session, RoomId::generate(), 0), Ok(()), "another room");
    world.enter(&mut session, room, 5).unwrap();
    for late in [5, 3] {
        world.hear(&mut session, room, late, None);
        let state = MemberState { version: late, role: None };
        assert_eq!(session.member_changed(room, state), Ok(()), "read again");
    }
    assert_eq!(world.may_broadcast(&mut session, room).unwrap_err().code, Code::Forbidden);
}

#[test]
fn a_role_is_the_newest_that_is_known() {
    let world = World::new();
    let mut session = world.session();
    let room = RoomId::generate();
    world.enter(&mut session, room, 4).unwrap();
    world.hear(&mut session, room, 5, Some(Role::Moderator));
    assert_eq!(world.may_broadcast(&mut session, room), Ok(()));
    world.enter(&mut session, room, 4).unwrap();
    assert_eq!(world.may_broadcast(&mut session, room), Ok(()), "a ticket of before");
    world.hear(&mut session, room, 4, None);
    assert_eq!(world.may_broadcast(&mut session, room), Ok(()), "late");
    world.hear(&mut session, room, 6, Some(Role::Member));
    assert_eq!(world.may_broadcast(&mut session, room).unwrap_err().code, Code::Forbidden);
    world.hear(&mut session, room, 7, Some(Role::Owner));
    world.enter(&mut session, room, 8).unwrap();
    assert_eq!(world.may_broadcast(&mut session, room).unwrap_err().code, Code::Forbidden);
}

#[test]
fn what_becomes_known_while_the_room_is_joined_counts() {
    let world = World::new();
    let mut session = world.session();
    let (room, user) = (RoomId::generate(), session.user());
    let join = |session: &mut Session| {
        let ticket = world.ticket(session, room, Role::Member);
        world.join(session, room, ticket).map(drop)
    };
    join(&mut session).unwrap();
    let promoted = MemberState { version: 1, role: Some(Role::Moderator) };
    world.rules.revoked.insert(Revocation::Member(room, user, promoted));
    session.joined(room).unwrap();
    assert_eq!(world.may_broadcast(&mut session, room), Ok(()));

    join(&mut session).unwrap();
    let removed = MemberState { version: 2, role: None };
    world.rules.revoked.insert(Revocation::Member(room, user, removed));
    assert_eq!(session.joined(room).unwrap_err().code, Code::Forbidden);
    assert_eq!(world.may_broadcast(&mut session, room).unwrap_err().code, Code::NotJoined);
    assert_eq!(session.joined(room).unwrap_err().code, Code::NotJoined);
}

#[test]
fn nothing_is_sent_before_the_room_has_taken_the_socket_in() {
    let world = World::new();
    let mut session = world.session();
    let room = RoomId::generate();
    let send = format!(r#"{{"roomId":"{room}","msg":"hi"}}"#);
    assert_eq!(code(world.event(&mut session, "send-msg", &send)), Code::NotJoined);
    let ticket = world.ticket(&session, room, Role::Member);
    world.join(&mut session, room, ticket).unwrap();
    assert_eq!(code(world.event(&mut session, "send-msg", &send)), Code::NotJoined);
    session.joined(room).unwrap();
    assert!(world.event(&mut session, "send-msg", &send).is_ok());
    world.event(&mut session, "leave-room", &format!(r#"{{"roomId":"{room}"}}"#)).unwrap();
    assert_eq!(code(world.event(&mut session, "send-msg", &send)), Code::NotJoined);
    assert_eq!(session.joined(room).unwrap_err().code, Code::NotJoined);
}

#[test]
fn a_message_carries_its_proven_sender_and_an_id_that_names_user_and_room() {
    let world = World::new();
    let mut session = world.session();
    let room = world.joined(&mut session, Role::Member);
    let id = MessageId::generate();
    world.event(&mut session, "new", &format!(r#"{{"roomId":"{room}","msg":"에이다"}}"#)).unwrap();
    let send = format!(r#"{{"roomId":"{room}","msg":"hi","id":"{id}"}}"#);
    let Action::Store { id: dedupe, event: StoredEvent::ReceiveMsg(message), .. } =
        world.event(&mut session, "send-msg", &send).unwrap()
    else {
        panic!("not stored")
    };
    assert_eq!(dedupe, format!("{}:{room}:{id}", session.user()));
    assert_eq!((message.from.id, message.from.name.as_str()), (session.user(), "에이다"));
}

#[test]
fn texts_rooms_and_notices_have_their_limits() {
    let world = World::new();
    let mut session = world.session();
    let room = world.joined(&mut session, Role::Member);
    let send = |msg: &str| format!(r#"{{"roomId":"{room}","msg":"{msg}"}}"#);
    assert_eq!(code(world.event(&mut session, "send-msg", &send(" "))), Code::MessageEmpty);
    assert_eq!(code(world.event(&mut session, "send-msg", &send("123456"))), Code::MessageTooLong);
    assert!(world.event(&mut session, "send-msg", &send("한글다섯자")).is_ok());
    assert_eq!(code(world.event(&mut session, "room-broadcast", &send("x"))), Code::Forbidden);
    let other = world.joined(&mut session, Role::Moderator);
    let notice = format!(r#"{{"roomId":"{other}","msg":"x"}}"#);
    assert!(world.event(&mut session, "room-broadcast", &notice).is_ok());
    let third = RoomId::generate();
    let ticket = world.ticket(&session, third, Role::Member);
    assert_eq!(code(world.join(&mut session, third, ticket)), Code::TooManyRooms);
}

#[test]
fn a_message_is_changed_by_its_author_and_deleted_by_a_moderator_too() {
    let world = World::new();
    let mut session = world.session();
    let (room, moderated) =
        (world.joined(&mut session, Role::Member), world.joined(&mut session, Role::Moderator));
    let me = session.user();
    for (room, name, fields, author) in [
        (room, "edit-msg", r#","msg":"new""#, Some(me)),
        (moderated, "edit-msg", r#","msg":"new""#, Some(me)),
        (room, "delete-msg", "", Some(me)),
        (moderated, "delete-msg", "", None),
        (room, "react", r#","emoji":"👍","on":true"#, None),
    ] {
        let data = format!(r#"{{"roomId":"{room}","seq":7{fields}}}"#);
        let Action::Store { needs, .. } = world.event(&mut session, name, &data).unwrap() else {
            panic!("{name} is not stored")
        };
        assert_eq!(needs, Needs::Message { seq: 7.into(), author }, "{name}");
    }
    let blank = format!(r#"{{"roomId":"{room}","seq":7,"msg":" "}}"#);
    assert_eq!(code(world.event(&mut session, "edit-msg", &blank)), Code::MessageEmpty);
}

#[test]
fn typing_is_told_when_it_is_news() {
    let world = World::new();
    let mut session = world.session();
    let room = world.joined(&mut session, Role::Member);
    let mut told = |on: bool, after: u64| {
        let data = format!(r#"{{"roomId":"{room}","on":{on}}}"#);
        let now = world.now + Duration::from_millis(after);
        matches!(world.event_at(&mut session, "typing", &data, now), Ok(Action::Ephemeral { .. }))
    };
    assert!(!told(false, 0), "nobody thought so");
    assert!(told(true, 0));
    assert!(!told(true, 1_999));
    assert!(told(true, 2_000), "still");
    assert!(told(false, 2_001));
    assert!(!told(false, 9_000));
}

#[test]
fn reading_moves_forward_only() {
    let world = World::new();
    let mut session = world.session();
    let room = world.joined(&mut session, Role::Member);
    let mut read = |seq: u32| {
        let data = format!(r#"{{"roomId":"{room}","seq":{seq}}}"#);
        let action = world.event(&mut session, "read", &data).unwrap();
        let is_news = matches!(action, Action::Read { .. });
        if is_news {
            session.has_read(room, seq.into());
        }
        is_news
    };
    assert_eq!([5, 5, 4, 6].map(&mut read), [true, false, false, true]);
}

#[test]
fn the_rate_refills_with_time() {
    let world = World::new();
    let mut session = world.session();
    let burst = world.rules.limits.event_burst as usize;
    let allowed = (0..burst + 5).filter(|_| session.allow("send-msg", world.now).is_ok()).count();
    assert_eq!(allowed, burst);
    let later = world.now + Duration::from_millis(101);
    assert!(session.allow("read", later).is_ok() && session.allow("", later).is_ok());
    assert_eq!(session.allow("typing", later).unwrap_err().code, Code::RateLimited);
    // Joining has a budget of its own, which the room limit sets.
    let joins = (0..200).filter(|_| session.allow("join-room", later).is_ok()).count();
    assert_eq!(joins, burst.max(2 * world.rules.limits.rooms_per_socket));
    assert_eq!(session.allow("leave-room", later).unwrap_err().code, Code::RateLimited);
}

#[test]
fn all_rooms_of_a_socket_can_be_joined_at_once() {
    for (rooms_per_socket, joins) in [(1, 40), (50, 100), (4_000, 8_000), (usize::MAX, 9_000)] {
        let limits = Limits { rooms_per_socket, ..Limits::default() };
        let now = Instant::now();
        let mut limiter = RateLimiter::new(now);
        assert!((0..joins).all(|_| limiter.admit(limits.joins(), now)), "{rooms_per_socket}");
        assert!(joins >= rooms_per_socket.min(9_000) && joins >= limits.event_burst as usize);
    }
}

#[test]
fn a_session_ends_by_revocation_and_is_refreshed_by_its_own_user_only() {
    let world = World::new();
    let mut session = world.session();
    let other = world.session();
    let exp = Timestamp::now().unix() + 600;
    let foreign = Access { exp, ..other.access.clone() };
    assert_eq!(session.refresh(Ok(foreign), world.now).unwrap_err().code, Code::WrongUser);
    let own = Access { exp, ..session.access.clone() };
    assert!(session.refresh(Ok(own.clone()), world.now).is_ok());
    assert_eq!(session.expires(), exp);
    world.rules.revoked.insert(Revocation::Over(Revoked::Session(own.session)));
    assert_eq!(session.refresh(Ok(own.clone()), world.now).unwrap_err().code, Code::SessionRevoked);
    let refused = Session::new(own, world.rules.clone(), world.now).err().unwrap();
    assert_eq!(refused.code, Code::SessionRevoked);
}
