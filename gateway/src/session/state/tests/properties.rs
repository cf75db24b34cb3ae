//! Properties that hold for events in any order.

use proptest::prelude::*;

use super::*;

proptest! {
    /// Changes of a membership arrive in any order, some repeatedly, while the user joins with tickets of any
    /// version. Once all have arrived, the newest wins: a removed user is not in the room, and the role is the
    /// newest one.
    #[test]
    fn the_newest_version_wins_in_any_order(
        history in prop::collection::vec(prop::option::of(0..3_usize), 1..6),
        steps in prop::collection::vec((any::<bool>(), 0..6_u64), 0..20),
    ) {
        let world = World::new();
        let mut session = world.session();
        let room = RoomId::generate();
        let roles = [Role::Member, Role::Moderator, Role::Owner];
        let role_of = |version: u64| -> Option<Role> {
            // Version 0 is a member.
            let Some(change) = version.checked_sub(1) else { return Some(Role::Member) };
            history[change as usize].map(|role| roles[role])
        };
        let newest = history.len() as u64;
        let all = (1..=newest).map(|version| (true, version));
        for (is_news, version) in steps.into_iter().map(|(is_news, n)| (is_news, n % (newest + 1))).chain(all) {
            match role_of(version) {
                role if is_news && version > 0 => world.hear(&mut session, room, version, role),
                Some(role) if !is_news => {
                    let ticket = Ticket { version, ..world.ticket(&session, room, role) };
                    if world.join(&mut session, room, ticket).is_ok() {
                        session.joined(room).unwrap();
                    }
                }
                _ => {}
            }
        }
        if let Some(role) = role_of(newest) {
            let ticket = Ticket { version: 0, ..world.ticket(&session, room, Role::Member) };
            prop_assert!(world.join(&mut session, room, ticket).is_ok());
            session.joined(room).unwrap();
            prop_assert_eq!(session.memberships.joined(room).unwrap().role(), role);
        } else {
            prop_assert!(session.memberships.joined(room).is_err());
        }
    }

    /// For any events in any order: no panic, and nothing is stored for a room that has not accepted the
    /// socket.
    #[test]
    fn arbitrary_events_store_nothing_outside_joined_rooms(
        steps in prop::collection::vec((0..11_usize, 0..3_usize), 0..40),
    ) {
        let world = World::new();
        let mut session = world.session();
        let rooms: Vec<RoomId> = (0..3).map(|_| RoomId::generate()).collect();
        let mut joined = std::collections::HashSet::new();
        let signal = format!(r#""to":"{}","data":[{{}}]"#, session.user());
        for (step, room) in steps {
            let room = rooms[room];
            match step {
                0 => {
                    let ticket = world.ticket(&session, room, Role::Owner);
                    joined.remove(&room);
                    if world.join(&mut session, room, ticket).is_ok() {
                        session.joined(room).unwrap();
                        joined.insert(room);
                    }
                }
                1 => {
                    let leave = format!(r#"{{"roomId":"{room}"}}"#);
                    prop_assert_eq!(world.event(&mut session, "leave-room", &leave).is_ok(), joined.remove(&room));
                }
                2..=9 => {
                    let (name, fields) = [
                        ("send-msg", r#""msg":"x""#),
                        ("room-broadcast", r#""msg":"x""#),
                        ("edit-msg", r#""seq":1,"msg":"x""#),
                        ("delete-msg", r#""seq":1"#),
                        ("react", r#""seq":1,"emoji":"👍","on":false"#),
                        ("typing", r#""on":true"#),
                        ("read", r#""seq":1"#),
                        ("signal", &signal),
                    ][step - 2];
                    let data = format!(r#"{{"roomId":"{room}",{fields}}}"#);
                    let done = world.event(&mut session, name, &data);
                    prop_assert_eq!(done.is_ok(), joined.contains(&room), "{}", name);
                }
                _ => {
                    session.forget(room);
                    joined.remove(&room);
                }
            }
        }
    }
}
