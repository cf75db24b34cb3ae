//! Events that can never be stored become dead letters and do not block others. A database outage makes no
//! dead letters.

use protocol::{
    RoomId, Timestamp, UserId,
    stored::{Person, StoredEvent},
    subject::{self, Shards},
};
use stories::{System, eventually, stories};

/// Makes the database refuse messages with one text.
async fn refuse(system: &System, text: &str) {
    let statement = if system.is_postgres() {
        format!("ALTER TABLE message ADD CONSTRAINT refused CHECK (msg <> '{text}')")
    } else {
        format!(
            "CREATE TRIGGER refused BEFORE INSERT ON message WHEN NEW.msg = '{text}'
             BEGIN SELECT RAISE(ABORT, 'refused'); END"
        )
    };
    system.execute(&statement).await;
}

fn reasons(letters: &[(String, String, Vec<u8>)]) -> Vec<&str> {
    letters.iter().map(|(_, reason, _)| reason.as_str()).collect()
}

async fn texts(system: &System, user: &stories::User, room: &str) -> Vec<String> {
    let page = user.get(&format!("/room/{room}/message?limit=200")).await.ok();
    let _ = system;
    let items = page["items"].as_array().unwrap().iter();
    items.map(|item| item["msg"].as_str().unwrap().to_owned()).collect()
}

/// Subjects and payloads that the archive cannot store. `first` is the seq of a message of the room.
fn invalid_events(room: RoomId, user: UserId, first: u64) -> Vec<(String, Vec<u8>)> {
    let stored = subject::stored(Shards::new(1).unwrap(), room);
    let at = "2026-01-01T00:00:00.000Z";
    let by = format!(r#"{{"id":"{user}","name":"Ada"}}"#);
    let message = |at: &str, rest: &str| {
        let id = uuid::Uuid::now_v7();
        format!(r#"["receive-msg",{{"id":"{id}","from":{by},"msg":"x","at":"{at}"{rest}}}]"#)
            .into_bytes()
    };
    let event = |name: &str, fields: String| format!(r#"["{name}",{{{fields}}}]"#).into_bytes();
    vec![
        (stored.clone(), Vec::new()),
        (stored.clone(), b"not JSON".to_vec()),
        (stored.clone(), b"[\"receive-msg\",{".to_vec()),
        (stored.clone(), br#"["receive-msg",{}]"#.to_vec()),
        (stored.clone(), format!(r#"["unknown-kind",{{"at":"{at}"}}]"#).into_bytes()),
        (stored.clone(), b"[\"receive-msg\",{\"msg\":\"\xff\xfe\"}]".to_vec()),
        (stored.clone(), b"\0\0\0\0".to_vec()),
        (stored.clone(), message("-9999-01-01T00:00:00Z", "")),
        (stored.clone(), message("+262142-01-01T00:00:00Z", "")),
        (stored.clone(), message(at, r#","replyTo":18446744073709551615"#)),
        (stored.clone(), message(at, r#","replyTo":-1"#)),
        (
            stored.clone(),
            format!(r#"["receive-msg",{{"id":"1","from":{by},"msg":"x","at":"{at}"}}]"#)
                .into_bytes(),
        ),
        (
            stored.clone(),
            event(
                "msg-edited",
                format!(r#""target":{first},"msg":"\u0000","by":"{user}","at":"{at}""#),
            ),
        ),
        (
            stored.clone(),
            event("msg-deleted", format!(r#""target":9000000000000000,"by":"{user}","at":"{at}""#)),
        ),
        (
            stored.clone(),
            event(
                "reaction",
                format!(r#""target":{first},"emoji":"\u0000","on":true,"by":{by},"at":"{at}""#),
            ),
        ),
        (stored.clone(), [b"[".repeat(100_000), b"]".repeat(100_000)].concat()),
        (subject::read(Shards::new(1).unwrap(), room, user), b"{}".to_vec()),
        (subject::read(Shards::new(1).unwrap(), room, user), br#"{"seq":-1}"#.to_vec()),
        (
            "chat.0.in.no-room".to_owned(),
            StoredEvent::RoomDeleted { by: user, at: Timestamp::now() }.encode(),
        ),
        (format!("chat.0.read.{room}.nobody"), br#"{"seq":1}"#.to_vec()),
    ]
}

stories! {
    async fn invalid_events_become_dead_letters(system: System) {
        let ada = system.user("ada").await;
        let room = ada.create_room("lobby").await;
        let first = ada.post_message("lobby", "before").await;
        let bad = invalid_events(room, ada.id, first);
        system.set_archive_ack_wait(std::time::Duration::from_secs(1)).await;
        for (n, (subject, payload)) in bad.iter().enumerate() {
            system.publish_raw(subject.clone(), payload.clone()).await.unwrap();
            ada.post_message("lobby", &n.to_string()).await;
        }
        // An empty message ends a pull through the account export, so the messages after it are delivered again.
        eventually("all of it", || async {
            system.archive_once().await;
            let moved = system.count_messages().await == 1 + bad.len() as i64;
            (moved && system.dead_letters().await.len() == bad.len()).then_some(())
        })
        .await;
        let mut letters = system.dead_letters().await;
        let place = |letter: &(String, String, Vec<u8>)| {
            bad.iter().position(|bad| (&bad.0, &bad.1) == (&letter.0, &letter.2))
        };
        letters.sort_by_key(place);
        let parked: Vec<(String, Vec<u8>)> = letters
            .iter()
            .map(|(subject, _, payload)| (subject.clone(), payload.clone()))
            .collect();
        assert_eq!(parked, bad);
        let mut expected = vec!["not-an-event"; bad.len()];
        expected[13] = "no-target";
        expected[18] = "no-room";
        expected[19] = "no-room";
        assert_eq!(reasons(&letters), expected);
        assert_eq!(system.count_messages().await, 1 + bad.len() as i64);
        let mut said = vec!["before".to_owned()];
        said.extend((0..bad.len()).map(|n| n.to_string()));
        assert_eq!(texts(&system, &ada, "lobby").await, said);
        // The events around them are processed: edits, purges, the room itself.
        assert_eq!(system.count("SELECT COUNT(*) FROM room_log WHERE archived_seq > 0").await, 1);
    }

    async fn refused_rows_inside_a_batch_become_dead_letters(system: System) {
        let ada = system.user("ada").await;
        let room = ada.create_room("lobby").await;
        refuse(&system, "poison").await;
        let mut said = Vec::new();
        for n in 0..60 {
            let text =
                if n == 17 || n == 41 || n == 42 { "poison".to_owned() } else { n.to_string() };
            ada.post_message("lobby", &text).await;
            if text != "poison" {
                said.push(text);
            }
        }
        assert_eq!(system.archive_once().await, 61);
        assert_eq!(system.archive_once().await, 0);
        assert_eq!(reasons(&system.dead_letters().await), ["refused-by-database"; 3]);
        assert_eq!(texts(&system, &ada, "lobby").await, said);
        // A batch of dead letters only.
        ada.post_message("lobby", "poison").await;
        assert_eq!(system.archive_once().await, 1);
        assert_eq!(system.dead_letters().await.len(), 4);
        let head = system.count_stored_events(room).await;
        assert_eq!(head, 62, "in the room's sequence it stays until it is purged");
    }

    async fn a_database_outage_loses_no_event(system: System) {
        let mut system = system;
        let ada = system.user("ada").await;
        let room = ada.create_room("lobby").await;
        for n in 0..3 {
            ada.post_message("lobby", &n.to_string()).await;
        }
        system.execute("ALTER TABLE message RENAME TO elsewhere").await;
        for _ in 0..3 {
            eventually("a pass that fails", || async { system.try_archive_once().await.err() })
                .await;
        }
        system.execute("ALTER TABLE elsewhere RENAME TO message").await;
        eventually("three", || async {
            system.archive_once().await;
            (system.count_messages().await == 3).then_some(())
        })
        .await;

        // The same while the archive follows the stream.
        system.start_archive();
        system.execute("ALTER TABLE message RENAME TO elsewhere").await;
        system.append_messages(room, ada.id, 3).await;
        let admin = async_nats::jetstream::new(system.nats_as("provision").await);
        let stream = admin.get_stream("CHAT_0").await.unwrap();
        eventually("events to come again", || async {
            (stream.consumer_info("archive").await.unwrap().num_redelivered > 0).then_some(())
        })
        .await;
        system.execute("ALTER TABLE elsewhere RENAME TO message").await;
        eventually("six", || async { (system.count_messages().await == 6).then_some(()) }).await;
        assert!(system.dead_letters().await.is_empty());
    }

    async fn without_the_dead_letter_stream_the_shard_continues(system: System) {
        let mut system = system;
        let ada = system.user("ada").await;
        let room = ada.create_room("lobby").await;
        let admin = async_nats::jetstream::new(system.nats_as("provision").await);
        admin.delete_stream(subject::DEAD_STREAM).await.unwrap();
        system
            .publish_raw(subject::stored(Shards::new(1).unwrap(), room), b"x".to_vec())
            .await
            .unwrap();
        system.start_archive();
        ada.post_message("lobby", "after").await;
        eventually("what follows", || async { (system.count_messages().await == 1).then_some(()) })
            .await;
        // The stream is created while the archive waits for it, and takes the events that were not parked.
        system.provision().await;
        eventually("the letter", || async {
            (system.dead_letters().await.len() == 1).then_some(())
        })
        .await;
    }
}

/// Checks the helper above.
#[test]
fn valid_notices_are_no_dead_letters() {
    let from = Person { id: UserId::generate(), name: "Ada".parse().unwrap() };
    let event =
        StoredEvent::RoomBroadcast { from, msg: "x".parse().unwrap(), at: Timestamp::now() };
    assert!(StoredEvent::decode(&event.encode()).is_ok());
    assert!(
        subject::Stored::parse(&subject::stored(Shards::new(1).unwrap(), RoomId::generate()))
            .is_some()
    );
}
