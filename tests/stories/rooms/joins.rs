//! Joining many rooms at once, and joining during a replay, a slow read or a drain.

use protocol::{Role, RoomId};
use serde_json::{Value, json};
use stories::{
    Database, Gateway, System, User,
    engine_io::{RawWebSocket, TEXT},
};

async fn system_with(variables: &[(&str, &str)]) -> (System, Gateway, User) {
    let mut system = System::new(Database::Sqlite).await;
    variables.iter().for_each(|(name, value)| system.set_variable(name, value));
    let gateway = system.start_gateway().await;
    let ada = system.user("ada").await;
    (system, gateway, ada)
}

/// The data of `join-room` for a room without a row in the database.
fn join(system: &System, user: &User, room: RoomId) -> Value {
    let ticket = system.ticket(user, room, Role::Member);
    json!({ "roomId": room, "userId": user.id, "ticket": ticket })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_rooms_are_joined_at_once_whatever_their_limit() {
    for (limit, rooms) in [("50", 50), ("130", 130), ("0", 250)] {
        let (system, gateway, ada) = system_with(&[
            ("LIMIT_ROOMS_PER_SOCKET", limit),
            // So low that only the burst matters.
            ("LIMIT_EVENT_RATE", "1"),
            ("LIMIT_EVENT_BURST", "10"),
        ])
        .await;
        let mut socket = ada.connect(&gateway).await;
        let mut acks = Vec::new();
        for _ in 0..rooms {
            acks.push(socket.emit("join-room", join(&system, &ada, RoomId::generate())).await);
        }
        for ack in acks {
            let ack = socket.ack(ack).await;
            assert_eq!(ack["ok"], true, "limit {limit}: {ack}");
        }
        // Joins have a rate limit of their own: that of the other events is unused.
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
async fn endless_joins_are_rate_limited() {
    let (system, gateway, ada) = system_with(&[("LIMIT_ROOMS_PER_SOCKET", "5")]).await;
    let mut socket = ada.connect(&gateway).await;
    let room = RoomId::generate();
    let mut acks = Vec::new();
    for n in 0..400 {
        acks.push(match n % 2 {
            0 => socket.emit("join-room", join(&system, &ada, room)).await,
            _ => socket.emit("leave-room", json!({ "roomId": room })).await,
        });
    }
    let mut refused = 0;
    for ack in acks {
        refused += usize::from(socket.ack(ack).await["error"]["code"] == "rate-limited");
    }
    assert!(refused > 0);
}

/// A slow reader joins with a long replay and falls behind during it. It reads the replay, the
/// acknowledgement, the live events, and then `lag` with the seq of the last of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lag_follows_the_acknowledgement_of_its_join() {
    let (system, gateway, ada) = system_with(&[
        ("LIMIT_EVENT_RATE", "0"),
        ("LIMIT_EVENT_BURST", "0"),
        ("LIMIT_MESSAGE_CHARS", "0"),
        ("PING_INTERVAL_SECONDS", "600"),
    ])
    .await;
    let bob = system.user("bob").await;
    let room = ada.create_room("lobby").await;
    let (mut speaker, _) = ada.join(&gateway, "lobby").await;
    let mut seqs = Vec::new();
    let message = json!({ "roomId": room, "msg": "x".repeat(25_000) });
    for _ in 0..200 {
        seqs.push(speaker.ok("send-msg", message.clone()).await["seq"].as_u64().unwrap());
    }
    let mut raw = RawWebSocket::authenticated(&gateway.base, &bob.access).await;
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
    // The last event is a message or the `member-joined` of the slow reader.
    let last = [replay, live].concat().rsplit("\"seq\":").next().map(|rest| {
        rest.bytes()
            .take_while(u8::is_ascii_digit)
            .fold(0, |n, digit| n * 10 + u64::from(digit - b'0'))
    });
    assert_eq!(lag, json!({ "roomId": room, "last": last }));
    assert!(live.matches("\"receive-msg\"").count() < 600);
}

/// A draining gateway answers all joins before it closes its sockets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins_are_answered_while_a_gateway_drains() {
    let (system, gateway, ada) = system_with(&[("DRAIN_SECONDS", "5")]).await;
    let mut socket = ada.connect(&gateway).await;
    let mut acks = Vec::new();
    for n in 0..40 {
        if n == 20 {
            gateway.drain();
        }
        acks.push(socket.emit("join-room", join(&system, &ada, RoomId::generate())).await);
    }
    for ack in acks {
        assert_eq!(socket.ack(ack).await["ok"], true);
    }
    assert!(socket.expect("migrate").await["deadline"].is_string());
}
