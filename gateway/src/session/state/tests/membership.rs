//! Joining rooms, and changes of memberships.

use super::*;

#[test]
fn only_a_matching_ticket_joins() {
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
fn a_removal_invalidates_older_tickets_only() {
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
fn the_role_of_the_newest_version_wins() {
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
fn changes_that_arrive_during_a_join_are_applied() {
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
fn all_rooms_of_a_socket_can_be_joined_at_once() {
    for (rooms_per_socket, joins) in [(1, 40), (50, 100), (4_000, 8_000), (usize::MAX, 9_000)] {
        let limits = Limits { rooms_per_socket, ..Limits::default() };
        let now = Instant::now();
        let mut limiter = RateLimiter::new(now);
        assert!((0..joins).all(|_| limiter.admit(limits.joins(), now)), "{rooms_per_socket}");
        assert!(joins >= rooms_per_socket.min(9_000) && joins >= limits.event_burst as usize);
    }
}
