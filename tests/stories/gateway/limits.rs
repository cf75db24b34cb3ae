//! Limits of the contract: each has its own code, can be set and switched off, and keeps one client
//! from spoiling it for others.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stories::{Database, Gateway, Socket, User, Wire, World};
use tokio_tungstenite::tungstenite::Message;

async fn world_with(variables: &[(&str, &str)]) -> (World, Gateway, User) {
    let mut world = World::new(Database::Sqlite).await;
    variables.iter().for_each(|(name, value)| world.set(name, value));
    let gateway = world.gateway().await;
    let ada = world.user("ada").await;
    ada.create_room("lobby").await;
    (world, gateway, ada)
}

async fn connects(gateway: &Gateway, user: &User) -> Result<Socket, Value> {
    Socket::try_connect(&gateway.base, json!({ "token": user.access })).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_has_so_many_sockets_and_another_when_one_closes() {
    let (world, gateway, ada) = world_with(&[("LIMIT_SOCKETS_PER_USER", "3")]).await;
    let mut sockets = Vec::new();
    for _ in 0..3 {
        sockets.push(connects(&gateway, &ada).await.unwrap());
    }
    let refused = connects(&gateway, &ada).await.err().unwrap();
    assert_eq!(refused["data"]["code"], "too-many-sockets");
    connects(&gateway, &world.user("bob").await).await.unwrap();
    sockets.pop();
    stories::eventually("a place", || async { connects(&gateway, &ada).await.ok() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_has_so_many_sockets_behind_trusted_proxies_too() {
    let limits = [("LIMIT_SOCKETS_PER_ADDRESS", "3"), ("TRUSTED_PROXY_HOPS", "1")];
    let (world, gateway, _) = world_with(&limits).await;
    let open = |address: &'static str| {
        let url = format!("{}/socket.io/?EIO=4&transport=polling", gateway.base);
        stories::Answer::of(world.http.get(url).header("x-forwarded-for", address))
    };
    for _ in 0..3 {
        assert_eq!(open("198.51.100.1").await.status, 200);
    }
    // What the client put before the proxy's own word counts for nothing.
    let refused = open("203.0.113.9, 198.51.100.1").await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.body["reason"], "too-many-from-address");
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(open("198.51.100.2").await.status, 200);
    let without = Wire::try_open(&gateway.base, "/socket.io/?EIO=4&transport=websocket").await;
    assert!(without.is_ok(), "its own address has a count of its own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_is_in_so_many_rooms() {
    let (_world, gateway, ada) = world_with(&[("LIMIT_ROOMS_PER_SOCKET", "2")]).await;
    let (mut socket, _) = ada.join(&gateway, "lobby").await;
    for name in ["second", "third"] {
        ada.create_room(name).await;
    }
    socket.ok("join-room", ada.join_data("second", None).await).await;
    socket.refused("join-room", ada.join_data("third", None).await, "too-many-rooms").await;
    socket.ok("leave-room", json!({ "roomId": ada.enter("lobby").await["room"]["id"] })).await;
    socket.ok("join-room", ada.join_data("third", None).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sizes_are_set_and_switched_off() {
    let (world, small, ada) =
        world_with(&[("LIMIT_MESSAGE_CHARS", "10"), ("LIMIT_FRAME_BYTES", "1000")]).await;
    let mut world = world;
    world.set("LIMIT_MESSAGE_CHARS", "0");
    world.set("LIMIT_FRAME_BYTES", "0");
    let big = world.gateway().await;
    let (mut socket, _) = ada.join(&small, "lobby").await;
    assert_eq!(socket.handshake["maxPayload"], 1000);
    let room = ada.enter("lobby").await["room"]["id"].clone();
    socket
        .refused("send-msg", json!({ "roomId": room, "msg": "12345678901" }), "message-too-long")
        .await;
    socket.send_raw(Message::text("x".repeat(1_001))).await;
    assert_eq!(socket.closed().await, stories::Closed::Code(1009));
    let (mut socket, _) = ada.join(&big, "lobby").await;
    socket.ok("send-msg", json!({ "roomId": room, "msg": "x".repeat(100_000) })).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_and_sockets_have_the_same_limit_of_characters() {
    let (world, gateway, ada) = world_with(&[("LIMIT_MESSAGE_CHARS", "10")]).await;
    let functions = world.functions().await;
    let (mut socket, _) = ada.join(&gateway, "lobby").await;
    let room = ada.enter("lobby").await["room"]["id"].clone();
    for (text, fits) in [("1234567890", true), ("12345678901", false)] {
        let (event, notice) = (json!({ "roomId": room, "msg": text }), json!({ "msg": text }));
        let message = json!({ "id": uuid::Uuid::now_v7(), "msg": text });
        let sent = ada.at(&functions).post("/room/lobby/message", message).await;
        let broadcast = ada.at(&functions).post("/room/lobby/broadcast", notice).await;
        if fits {
            socket.ok("send-msg", event).await;
            assert_eq!([sent.status, broadcast.status], [201, 202]);
        } else {
            socket.refused("send-msg", event, "message-too-long").await;
            sent.problem(422, "invalid-value");
            broadcast.problem(422, "invalid-value");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_one_socket_does_not_slow_its_neighbours() {
    // One thread, so that flooder and neighbours share it.
    let (world, gateway, ada) = world_with(&[("GATEWAY_THREADS", "1")]).await;
    let bob = world.user("bob").await;
    let room = ada.create_room("busy").await;
    let (mut neighbour, _) = ada.join(&gateway, "busy").await;
    let quiet = median(&mut neighbour, room).await;

    let mut floods = Vec::new();
    for kind in ["join-room", "typing", "send-msg", "react"] {
        let (mut flooder, _) = bob.join(&gateway, "busy").await;
        let event = match kind {
            "join-room" => json!([kind, bob.join_data("busy", None).await]),
            "typing" => json!([kind, { "roomId": room, "on": true }]),
            "react" => json!([kind, { "roomId": room, "seq": 1, "emoji": "👍", "on": true }]),
            _ => json!([kind, { "roomId": room, "msg": "flood" }]),
        };
        let packet = format!("421{event}");
        floods.push(tokio::spawn(async move {
            for _ in 0..20_000 {
                // It never reads; at some point nothing more is taken from it.
                let sending = flooder.send_raw(Message::text(packet.clone()));
                if tokio::time::timeout(Duration::from_secs(30), sending).await.is_err() {
                    return;
                }
            }
        }));
    }
    // Let the bursts pass: they are within the limits.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let flooded = median(&mut neighbour, room).await;
    floods.iter().for_each(tokio::task::JoinHandle::abort);
    // A multiple that noise does not reach and a gateway that reads all it is sent does.
    let most = quiet * 10 + Duration::from_millis(50);
    assert!(flooded < most, "quiet {quiet:?}, flooded {flooded:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_are_answered_at_a_rate() {
    let (_world, gateway, _ada) = world_with(&[]).await;
    // 5,000 in one body, which nobody who means well would send.
    let session = stories::Polling::open(&gateway.base, "/socket.io/").await;
    let body = vec!["2x"; 5_000].join("\u{1e}");
    let flood = tokio::spawn({
        let session = session.clone();
        async move { session.post(body).await }
    });
    let mut answered = 0;
    for _ in 0..5 {
        answered += session.get().await.1.split('\u{1e}').filter(|packet| *packet == "3x").count();
    }
    flood.abort();
    assert!((1..1_000).contains(&answered), "{answered} were answered");
    // A client that answers its pings, and sends some of its own, is far from the limit.
    let (mut wire, _) = Wire::session(&gateway.base, "/socket.io/").await;
    for _ in 0..50 {
        wire.send("2y").await;
        assert_eq!(wire.next_but_ping().await, Message::text("3y"));
    }
}

/// How long an acknowledged message takes, in the middle of 15.
async fn median(socket: &mut Socket, room: protocol::RoomId) -> Duration {
    let mut times = Vec::new();
    for _ in 0..15 {
        let started = Instant::now();
        socket.ok("send-msg", json!({ "roomId": room, "msg": "and I?" })).await;
        times.push(started.elapsed());
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    times.sort_unstable();
    times[times.len() / 2]
}
