//! Events other than joins.

use super::*;

#[test]
fn messages_are_refused_until_the_room_accepts_the_socket() {
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
fn a_message_has_its_verified_sender_and_a_dedupe_id_of_user_and_room() {
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
fn texts_rooms_and_broadcasts_are_limited() {
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
fn only_the_author_edits_and_moderators_delete_too() {
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
fn typing_is_relayed_when_it_changes_and_repeated_every_two_seconds() {
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
fn an_id_is_generated_only_for_events_stored_under_a_new_id() {
    let world = World::new();
    let mut session = world.session();
    let room = world.joined(&mut session, Role::Member);
    let fixed = || MessageId::from(uuid::Uuid::from_u128(7));
    let mut dedupe_id = |name: &str, fields: &str, new_id: fn() -> MessageId| {
        let data = format!(r#"{{"roomId":"{room}",{fields}}}"#);
        let event = ClientEvent::parse(name, data.as_bytes()).unwrap();
        let moment = Moment { new_id, ..moment(world.now) };
        match session.on_event(event, &world.verifier, moment).unwrap() {
            Action::Store { id, .. } => Some(id),
            _ => None,
        }
    };
    let suffix = fixed().to_string();
    for (name, fields) in [("send-msg", r#""msg":"x""#), ("delete-msg", r#""seq":1"#)] {
        assert!(dedupe_id(name, fields, fixed).unwrap().ends_with(&suffix), "{name}");
    }
    let unused: fn() -> MessageId = || panic!("no id is needed");
    let with_id = format!(r#""msg":"x","id":"{}""#, MessageId::generate());
    assert!(dedupe_id("send-msg", &with_id, unused).is_some());
    assert_eq!(dedupe_id("typing", r#""on":true"#, unused), None);
    assert_eq!(dedupe_id("read", r#""seq":1"#, unused), None);
}
