//! Joining many rooms, and joining while something else happens to the socket.

use protocol::{Role, RoomId};
use serde_json::{Value, json};
use stories::{
    Database, Gateway, User, World,
    wire::{Raw, TEXT},
};

async fn world_with(variables: &[(&str, &str)]) -> (World, Gateway, User) {
    let mut world = World::new(Database::Sqlite).await;
    variables.iter().for_each(|(name, value)| world.set(name, value));
    let gateway = world.gateway().await;
    let ada = world.user("ada").await;
    (world, gateway, ada)
}

/// What joins a room that needs no row in the database.
fn join(world: &World, user: &User, room: RoomId) -> Value {
    let ticket = world.ticket(user, room, Role::Member);
    json!({ "roomId": room, "userId": user.id, "ticket": ticket })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_rooms_are_joined_at_once_whatever_their_limit() {
    for (limit, rooms) in [("50", 50), ("130", 130), ("0", 250)] {
        let (world, gateway, ada) = world_with(&[
            ("LIMIT_ROOMS_PER_SOCKET", limit),
            // Next to nothing, so that only the burst counts.
            ("LIMIT_EVENT_RATE", "1"),
            ("LIMIT_EVENT_BURST", "10"),
        ])
        .await;
        let mut socket = ada.connect(&gateway).await;
        let mut acks = Vec::new();
        for _ in 0..rooms {
            acks.push(socket.emit("join-room", join(&world, &ada, RoomId::generate())).await);
        }
        for ack in acks {
            let ack = socket.ack(ack).await;
            assert_eq!(ack["ok"], true, "limit {limit}: {ack}");
        }
        // The other events' budget is untouched.
        let mut acks = Vec::new();
        for _ in 0..20 {
            let data = json!({ "roomId": RoomId::generate(), "on": true });
            acks.push(socket.emit("typing", data).await);
        }
        let mut refused = 0;
        for (nth, ack) in acks.into_iter().enumerate() {
            let code = socket.ack(ack).await["error"]["code"].clone();
            assert!(code == "not-joined" || nth >= 10, "{nth}: {code}");
            refused += usize::from(code == "rate-limited");
        }
        assert!(refused > 0, "they have a limit");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins_without_end_are_refused_too() {
    let (world, gateway, ada) = world_with(&[("LIMIT_ROOMS_PER_SOCKET", "5")]).await;
    let mut socket = ada.connect(&gateway).await;
    let room = RoomId::generate();
    let mut acks = Vec::new();
    for n in 0..400 {
        acks.push(match n % 2 {
            0 => socket.emit("join-room", join(&world, &ada, room)).await,
            _ => socket.emit("leave-room", json!({ "roomId": room })).await,
        });
    }
    let mut refused = 0;
    for ack in acks {
        refused += usize::from(socket.ack(ack).await["error"]["code"] == "rate-limited");
    }
    assert!(refused > 0);
}

/// A slow reader joins with a long replay and falls behind while it comes: it reads the replay, the
/// answer of its join, what came live, and then `lag`, which names the last of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lag_comes_after_the_answer_of_the_join_that_it_is_about() {
    let (world, gateway, ada) = world_with(&[
        ("LIMIT_EVENT_RATE", "0"),
        ("LIMIT_EVENT_BURST", "0"),
        ("LIMIT_MESSAGE_CHARS", "0"),
        ("PING_INTERVAL_SECONDS", "600"),
    ])
    .await;
    let bob = world.user("bob").await;
    let room = ada.create_room("lobby").await;
    let (mut speaker, _) = ada.join(&gateway, "lobby").await;
    let mut seqs = Vec::new();
    let message = json!({ "roomId": room, "msg": "x".repeat(25_000) });
    for _ in 0..200 {
        seqs.push(speaker.ok("send-msg", message.clone()).await["seq"].as_u64().unwrap());
    }
    let mut raw = Raw::chatting(&gateway.base, &bob.access).await;
    let join = bob.join_data("lobby", seqs.first().copied()).await;
    raw.frame(TEXT, format!("420{}", json!(["join-room", join])).as_bytes()).await;
    let head = speaker.expect("presence").await;
    assert_eq!(head["roomId"], json!(room), "the room has taken it in");
    for _ in 0..600 {
        seqs.push(speaker.ok("send-msg", message.clone()).await["seq"].as_u64().unwrap());
    }
    let mut read = raw.until(b"42[\"lag\",").await;
    if !read.ends_with(b"]") {
        read.extend(raw.until(b"]").await);
    }
    let read = String::from_utf8_lossy(&read).into_owned();
    let (before, lag) = read.split_once("42[\"lag\",").unwrap();
    let lag: Value = serde_json::from_str(lag.trim_end_matches(']')).unwrap();
    let (replay, live) = before.split_once("430[{\"ok\":true").expect("the join is answered");
    let messages = replay.matches("\"receive-msg\"").count();
    assert_eq!(messages, 199, "the replay comes before the answer");
    // Whatever came last: a message, or that the slow one became a member.
    let last = [replay, live].concat().rsplit("\"seq\":").next().map(|rest| {
        rest.bytes()
            .take_while(u8::is_ascii_digit)
            .fold(0, |n, digit| n * 10 + u64::from(digit - b'0'))
    });
    assert_eq!(lag, json!({ "roomId": room, "last": last }));
    assert!(live.matches("\"receive-msg\"").count() < 600);
}

/// A gateway that drains answers the joins that it was asked for before its sockets are closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins_are_answered_while_a_gateway_drains() {
    let (world, gateway, ada) = world_with(&[("DRAIN_SECONDS", "5")]).await;
    let mut socket = ada.connect(&gateway).await;
    let mut acks = Vec::new();
    for n in 0..40 {
        if n == 20 {
            gateway.drain();
        }
        acks.push(socket.emit("join-room", join(&world, &ada, RoomId::generate())).await);
    }
    for ack in acks {
        assert_eq!(socket.ack(ack).await["ok"], true);
    }
    assert!(socket.expect("migrate").await["deadline"].is_string());
}
