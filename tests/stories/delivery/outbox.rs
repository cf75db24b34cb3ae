//! Revocations do not wait behind events: not in a request while the stream is full, and not in the outbox
//! behind rows that cannot be published.

use std::time::Duration;

use protocol::{
    RoomId, Timestamp, UserId,
    stored::{Person, StoredEvent},
    subject::{self, MemberState, REVOKED_BUCKET, Revoked, Shards},
};
use serde_json::json;
use service::{roomlog::RoomLog, trace::TraceParent};
use store::Store;
use stories::{POLL_INTERVAL, Socket, System, eventually, stories};
use uuid::Uuid;

/// Asserts that the socket is out of the room within a few seconds, without an event.
async fn is_removed_soon(socket: &mut Socket, room: RoomId) {
    let out = async {
        let typing = json!({ "roomId": room, "on": true });
        while socket.call("typing", typing.clone()).await["error"]["code"] != "not-joined" {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(5), out).await.is_ok(), "it may still type");
}

fn notice(msg: &str) -> StoredEvent {
    let from = Person { id: UserId::generate(), name: "Ada".parse().unwrap() };
    StoredEvent::RoomBroadcast { from, msg: msg.parse().unwrap(), at: Timestamp::now() }
}

/// Makes the stream small and stores events until it refuses them in any size.
async fn fill_stream(system: &mut System, room: RoomId) {
    system.set_variable("STREAM_MAX_BYTES", "100000");
    system.provision().await;
    let log = RoomLog::new(system.nats_as("functions").await, Shards::new(1).unwrap());
    for size in [4_000, 100, 1] {
        let payload = notice(&"x".repeat(size)).encode();
        loop {
            let id = Uuid::now_v7().to_string();
            let pending = log.append(room, &id, payload.clone().into(), None).await.unwrap();
            if pending.stored().await.is_err() {
                break;
            }
        }
    }
}

/// An outbox row that a request left a minute ago.
async fn insert_outbox_row(system: &System, subject: &str, payload: &[u8], revokes: bool) {
    let id = Uuid::now_v7();
    let hex: String = payload.iter().map(|byte| format!("{byte:02x}")).collect();
    let row = if system.is_postgres() {
        format!("'{id}', '{subject}', '\\x{hex}', now() - interval '1 minute', {revokes}")
    } else {
        let ago = "strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now', '-1 minute')";
        format!("X'{}', '{subject}', X'{hex}', {ago}, {revokes}", id.simple())
    };
    let insert = "INSERT INTO outbox (id, subject, payload, created_at, revokes)";
    system.execute(&format!("{insert} VALUES ({row})")).await;
}

/// Outbox rows of many rooms, with a subject that no stream accepts.
async fn insert_unpublishable_rows(system: &System, rooms: usize) {
    for _ in 0..rooms {
        insert_outbox_row(system, &format!("chat.9.in.{}", RoomId::generate()), b"[]", false).await;
    }
}

async fn insert_removal(system: &System, room: RoomId, user: UserId) {
    let key = Revoked::Member(room, user).key();
    let removed = MemberState { version: 1_000, role: None }.encode();
    insert_outbox_row(system, &subject::bucket_put(REVOKED_BUCKET, &key), &removed, true).await;
}

stories! {
    async fn a_transaction_publishes_only_after_its_commit(system: System) {
        let ada = system.user("ada").await;
        let room = ada.create_room("lobby").await;
        let log = RoomLog::new(system.nats_as("functions").await, Shards::new(1).unwrap());
        let store = Store { database: system.connect_database().await, log };
        let before = system.count_stored_events(room).await;
        let mut dropped = store.begin(TraceParent::root()).await.unwrap();
        dropped.emit(room, &notice("dropped")).await.unwrap();
        dropped.revoke(Revoked::User(ada.id)).await.unwrap();
        drop(dropped);
        let mut committed = store.begin(TraceParent::root()).await.unwrap();
        committed.emit(room, &notice("committed")).await.unwrap();
        assert_eq!(system.count_stored_events(room).await, before, "published before its commit");
        committed.commit().await.unwrap();
        let events = system.stored_events(room).await;
        assert_eq!(events.len(), before + 1, "{events:?}");
        let is_committed = |event: &StoredEvent| match event {
            StoredEvent::RoomBroadcast { msg, .. } => msg.as_str() == "committed",
            _ => false,
        };
        assert!(events.last().is_some_and(is_committed), "{events:?}");
        // Neither row is left, nor was the revocation published.
        assert_eq!(system.count("SELECT COUNT(*) FROM outbox").await, 0);
        let gateway = system.start_gateway().await;
        let _joined = ada.join(&gateway, "lobby").await;
        store.database.close().await;
    }

    async fn a_ban_takes_effect_while_the_stream_is_full(system: System) {
        let mut system = system;
        let gateways = [system.start_gateway().await, system.start_gateway().await];
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        let (mut one, _) = bob.join(&gateways[0], "lobby").await;
        let (mut other, _) = bob.join(&gateways[1], "lobby").await;
        let elsewhere = ada.create_room("elsewhere").await;
        fill_stream(&mut system, elsewhere).await;
        // The rows of other rooms are not published either.
        insert_unpublishable_rows(&system, 120).await;
        let banned = ada.delete(&format!("/room/lobby/member/{}?ban=true", bob.id)).await;
        assert_eq!(banned.status, 204);
        is_removed_soon(&mut one, room).await;
        is_removed_soon(&mut other, room).await;
        bob.get("/room/lobby").await.problem(403, "banned");
        assert_eq!(system.count("SELECT COUNT(*) FROM outbox WHERE revokes").await, 0);
        let owed = "SELECT COUNT(*) FROM outbox WHERE NOT revokes";
        assert_eq!(system.count(owed).await, 120 + 1, "the event that says so is still owed");
    }

    async fn revocations_take_effect_while_the_stream_is_full(system: System) {
        let mut system = system;
        let gateway = system.start_gateway().await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        let (mut of_ada, _) = ada.join(&gateway, "lobby").await;
        let ticket = bob.join_data("lobby", None).await;
        let (mut in_room, _) = bob.join(&gateway, "lobby").await;
        let elsewhere = ada.create_room("elsewhere").await;
        fill_stream(&mut system, elsewhere).await;
        assert_eq!(ada.delete("/room/lobby").await.status, 204);
        is_removed_soon(&mut in_room, room).await;
        let refused = in_room.call("join-room", ticket).await;
        assert_eq!(refused["error"]["code"], "room-deleted", "{refused}");
        assert_eq!(ada.post("/logout", json!({})).await.status, 204);
        assert_eq!(of_ada.expect("session-expired").await["code"], "session-revoked");
    }

    async fn unpublishable_rows_do_not_block_others(system: System) {
        let gateway = system.start_gateway().await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        let (mut in_room, _) = bob.join(&gateway, "lobby").await;
        let (mut watcher, _) = ada.join(&gateway, "lobby").await;
        insert_unpublishable_rows(&system, 150).await;
        insert_outbox_row(
            &system,
            &subject::stored(Shards::new(1).unwrap(), room),
            &notice("first").encode(),
            false,
        )
        .await;
        insert_outbox_row(
            &system,
            &subject::stored(Shards::new(1).unwrap(), room),
            &notice("second").encode(),
            false,
        )
        .await;
        insert_removal(&system, room, bob.id).await;
        system.archive_once().await;
        for msg in ["first", "second"] {
            assert_eq!(watcher.expect("room-broadcast").await["msg"], msg);
        }
        is_removed_soon(&mut in_room, room).await;
        assert_eq!(system.count("SELECT COUNT(*) FROM outbox").await, 150);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_show_the_size_and_age_of_the_outbox() {
    const METRICS: &str = "127.0.0.1:18491";
    let mut system = System::new(stories::Database::Sqlite).await;
    insert_unpublishable_rows(&system, 3).await;
    system.set_variable("METRICS_LISTEN", METRICS);
    let _archive = system.start_process("archive", &["--follow"]);
    let metrics = eventually("the outbox to be measured", || async {
        let text = system.http.get(format!("http://{METRICS}/metrics")).send().await.ok()?;
        text.text().await.ok().filter(|text| text.contains("chat_outbox_oldest_seconds"))
    })
    .await;
    assert!(metrics.contains("chat_outbox_rows{kind=\"event\"} 3"), "{metrics}");
    assert!(metrics.contains("chat_outbox_rows{kind=\"revocation\"} 0"), "{metrics}");
    let age = metrics.lines().find_map(|line| {
        line.strip_prefix("chat_outbox_oldest_seconds{kind=\"event\"} ")?.parse::<f64>().ok()
    });
    assert!(age.is_some_and(|age| age >= 60.0), "{age:?}");
}
