//! A revocation does not wait behind events: neither in a request while the stream is full, nor in the
//! outbox behind rows that cannot be published.

use std::time::Duration;

use protocol::{
    RoomId, Timestamp, UserId,
    stored::{Person, StoredEvent},
    subject::{self, MemberState, REVOKED_BUCKET, Revoked, Shards},
};
use serde_json::json;
use service::{roomlog::RoomLog, trace::TraceParent};
use store::Store;
use stories::{Socket, World, eventually, stories};
use uuid::Uuid;

/// The socket's user is out of the room within a few seconds, although no event says so.
async fn is_put_out(socket: &mut Socket, room: RoomId) {
    let out = async {
        let typing = json!({ "roomId": room, "on": true });
        while socket.call("typing", typing.clone()).await["error"]["code"] != "not-joined" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(5), out).await.is_ok(), "it may still type");
}

fn notice(msg: &str) -> StoredEvent {
    let from = Person { id: UserId::generate(), name: "Ada".parse().unwrap() };
    StoredEvent::RoomBroadcast { from, msg: msg.parse().unwrap(), at: Timestamp::now() }
}

/// Makes the stream small and stores events until it takes no more of any size.
async fn fill_stream(world: &mut World, room: RoomId) {
    world.set("STREAM_MAX_BYTES", "100000");
    world.provision().await;
    let log = RoomLog::new(world.nats_as("functions").await, Shards::new(1).unwrap());
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

/// A row that a request of a minute ago left.
async fn owe(world: &World, subject: &str, payload: &[u8], revokes: bool) {
    let id = Uuid::now_v7();
    let hex: String = payload.iter().map(|byte| format!("{byte:02x}")).collect();
    let row = if world.is_postgres() {
        format!("'{id}', '{subject}', '\\x{hex}', now() - interval '1 minute', {revokes}")
    } else {
        let ago = "strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now', '-1 minute')";
        format!("X'{}', '{subject}', X'{hex}', {ago}, {revokes}", id.simple())
    };
    let insert = "INSERT INTO outbox (id, subject, payload, created_at, revokes)";
    world.sql(&format!("{insert} VALUES ({row})")).await;
}

/// Rows of so many rooms whose subject no stream takes.
async fn owe_stuck(world: &World, rooms: usize) {
    for _ in 0..rooms {
        owe(world, &format!("chat.9.in.{}", RoomId::generate()), b"[]", false).await;
    }
}

async fn owe_removal(world: &World, room: RoomId, user: UserId) {
    let key = Revoked::Member(room, user).key();
    let removed = MemberState { version: 1_000, role: None }.encode();
    owe(world, &subject::bucket_put(REVOKED_BUCKET, &key), &removed, true).await;
}

stories! {
    async fn a_transaction_publishes_after_its_commit_and_nothing_without_one(world: World) {
        let ada = world.user("ada").await;
        let room = ada.create_room("lobby").await;
        let log = RoomLog::new(world.nats_as("functions").await, Shards::new(1).unwrap());
        let store = Store { database: world.database().await, log };
        let before = world.events_in_stream(room).await;
        let mut dropped = store.begin(TraceParent::root()).await.unwrap();
        dropped.emit(room, &notice("dropped")).await.unwrap();
        dropped.revoke(Revoked::User(ada.id)).await.unwrap();
        drop(dropped);
        let mut committed = store.begin(TraceParent::root()).await.unwrap();
        committed.emit(room, &notice("committed")).await.unwrap();
        assert_eq!(world.events_in_stream(room).await, before, "published before its commit");
        committed.commit().await.unwrap();
        let events = world.events(room).await;
        assert_eq!(events.len(), before + 1, "{events:?}");
        let is_committed = |event: &StoredEvent| {
            matches!(event, StoredEvent::RoomBroadcast { msg, .. } if msg.as_str() == "committed")
        };
        assert!(events.last().is_some_and(is_committed), "{events:?}");
        // Neither row is left, nor was the revocation published.
        assert_eq!(world.count("SELECT COUNT(*) FROM outbox").await, 0);
        let gateway = world.gateway().await;
        let _joined = ada.join(&gateway, "lobby").await;
        store.database.close().await;
    }

    async fn a_ban_takes_effect_while_the_stream_is_full(world: World) {
        let mut world = world;
        let gateways = [world.gateway().await, world.gateway().await];
        let (ada, bob) = (world.user("ada").await, world.user("bob").await);
        let room = ada.create_room("lobby").await;
        let (mut one, _) = bob.join(&gateways[0], "lobby").await;
        let (mut other, _) = bob.join(&gateways[1], "lobby").await;
        let elsewhere = ada.create_room("elsewhere").await;
        fill_stream(&mut world, elsewhere).await;
        // Nobody publishes what is owed for other rooms either.
        owe_stuck(&world, 120).await;
        let banned = ada.delete(&format!("/room/lobby/member/{}?ban=true", bob.id)).await;
        assert_eq!(banned.status, 204);
        is_put_out(&mut one, room).await;
        is_put_out(&mut other, room).await;
        bob.get("/room/lobby").await.problem(403, "banned");
        assert_eq!(world.count("SELECT COUNT(*) FROM outbox WHERE revokes").await, 0);
        let owed = "SELECT COUNT(*) FROM outbox WHERE NOT revokes";
        assert_eq!(world.count(owed).await, 120 + 1, "the event that says so is still owed");
    }

    async fn what_ends_a_session_or_a_room_takes_effect_while_the_stream_is_full(world: World) {
        let mut world = world;
        let gateway = world.gateway().await;
        let (ada, bob) = (world.user("ada").await, world.user("bob").await);
        let room = ada.create_room("lobby").await;
        let (mut of_ada, _) = ada.join(&gateway, "lobby").await;
        let ticket = bob.join_data("lobby", None).await;
        let (mut in_room, _) = bob.join(&gateway, "lobby").await;
        let elsewhere = ada.create_room("elsewhere").await;
        fill_stream(&mut world, elsewhere).await;
        assert_eq!(ada.delete("/room/lobby").await.status, 204);
        is_put_out(&mut in_room, room).await;
        let refused = in_room.call("join-room", ticket).await;
        assert_eq!(refused["error"]["code"], "room-deleted", "{refused}");
        assert_eq!(ada.post("/logout", json!({})).await.status, 204);
        assert_eq!(of_ada.expect("session-expired").await["code"], "session-revoked");
    }

    async fn rows_that_cannot_be_published_keep_no_others(world: World) {
        let gateway = world.gateway().await;
        let (ada, bob) = (world.user("ada").await, world.user("bob").await);
        let room = ada.create_room("lobby").await;
        let (mut in_room, _) = bob.join(&gateway, "lobby").await;
        let (mut watcher, _) = ada.join(&gateway, "lobby").await;
        owe_stuck(&world, 150).await;
        owe(&world, &subject::stored(Shards::new(1).unwrap(), room), &notice("first").encode(), false).await;
        owe(&world, &subject::stored(Shards::new(1).unwrap(), room), &notice("second").encode(), false).await;
        owe_removal(&world, room, bob.id).await;
        world.archive_once().await;
        for msg in ["first", "second"] {
            assert_eq!(watcher.expect("room-broadcast").await["msg"], msg);
        }
        is_put_out(&mut in_room, room).await;
        assert_eq!(world.count("SELECT COUNT(*) FROM outbox").await, 150);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_sees_how_much_is_owed_and_for_how_long() {
    const METRICS: &str = "127.0.0.1:18491";
    let mut world = World::new(stories::Database::Sqlite).await;
    owe_stuck(&world, 3).await;
    world.set("METRICS_LISTEN", METRICS);
    let _archive = world.process("archive", &["--follow"]);
    let metrics = eventually("the outbox to be measured", || async {
        let text = world.http.get(format!("http://{METRICS}/metrics")).send().await.ok()?;
        text.text().await.ok().filter(|text| text.contains("outbox_oldest_seconds"))
    })
    .await;
    assert!(metrics.contains("outbox_rows{kind=\"event\"} 3"), "{metrics}");
    assert!(metrics.contains("outbox_rows{kind=\"revocation\"} 0"), "{metrics}");
    let age = metrics.lines().find_map(|line| {
        line.strip_prefix("outbox_oldest_seconds{kind=\"event\"} ")?.parse::<f64>().ok()
    });
    assert!(age.is_some_and(|age| age >= 60.0), "{age:?}");
}
