//! The gateway's limits: each has its own error code and can be set or disabled, and a flooding client does
//! not slow others.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use stories::{Database, Gateway, Socket, System, User, WebSocket, eventually};
use tokio_tungstenite::tungstenite::Message;

/// More events than one socket may send at once.
const BURST: usize = 100;

async fn system_with(variables: &[(&str, &str)]) -> (System, Gateway, User) {
    let mut system = System::new(Database::Sqlite).await;
    variables.iter().for_each(|(name, value)| system.set_variable(name, value));
    let gateway = system.start_gateway().await;
    let ada = system.user("ada").await;
    ada.create_room("lobby").await;
    (system, gateway, ada)
}

async fn connects(gateway: &Gateway, user: &User) -> Result<Socket, Value> {
    Socket::try_connect(&gateway.base, json!({ "token": user.access })).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_per_user_are_limited() {
    let (system, gateway, ada) = system_with(&[("LIMIT_SOCKETS_PER_USER", "3")]).await;
    let mut sockets = Vec::new();
    for _ in 0..3 {
        sockets.push(connects(&gateway, &ada).await.unwrap());
    }
    let refused = connects(&gateway, &ada).await.err().unwrap();
    assert_eq!(refused["data"]["code"], "too-many-sockets");
    connects(&gateway, &system.user("bob").await).await.unwrap();
    sockets.pop();
    stories::eventually("a place", || async { connects(&gateway, &ada).await.ok() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_per_address_are_limited_behind_proxies() {
    let limits = [("LIMIT_SOCKETS_PER_ADDRESS", "3"), ("TRUSTED_PROXY_HOPS", "1")];
    let (system, gateway, _) = system_with(&limits).await;
    let open = |address: &'static str| {
        let url = format!("{}/socket.io/?EIO=4&transport=polling", gateway.base);
        stories::Answer::of(system.http.get(url).header("x-forwarded-for", address))
    };
    for _ in 0..3 {
        assert_eq!(open("198.51.100.1").await.status, 200);
    }
    // Addresses that the client itself puts into the header are ignored.
    let refused = open("203.0.113.9, 198.51.100.1").await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.body["reason"], "too-many-from-address");
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(open("198.51.100.2").await.status, 200);
    let without = WebSocket::try_open(&gateway.base, "/socket.io/?EIO=4&transport=websocket").await;
    assert!(without.is_ok(), "its own address has a count of its own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_per_socket_are_limited() {
    let (_system, gateway, ada) = system_with(&[("LIMIT_ROOMS_PER_SOCKET", "2")]).await;
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
async fn size_limits_are_configurable() {
    let (system, small, ada) =
        system_with(&[("LIMIT_MESSAGE_CHARS", "10"), ("LIMIT_FRAME_BYTES", "1000")]).await;
    let mut system = system;
    system.set_variable("LIMIT_MESSAGE_CHARS", "0");
    system.set_variable("LIMIT_FRAME_BYTES", "0");
    let big = system.start_gateway().await;
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
    let (system, gateway, ada) = system_with(&[("LIMIT_MESSAGE_CHARS", "10")]).await;
    let functions = system.start_functions().await;
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
    // One thread, which the flooding sockets and their neighbours share.
    let (system, gateway, ada) = system_with(&[("GATEWAY_THREADS", "1")]).await;
    let bob = system.user("bob").await;
    let room = ada.create_room("busy").await;
    let (mut neighbour, _) = ada.join(&gateway, "busy").await;
    let quiet = median(&mut neighbour, room).await;

    let mut floods = Vec::new();
    let accepted: [Arc<AtomicUsize>; 4] = Default::default();
    for (kind, accepted) in ["join-room", "typing", "send-msg", "react"].into_iter().zip(&accepted)
    {
        let accepted = accepted.clone();
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
                // It never reads. At some point the gateway reads nothing more from it.
                let sending = flooder.send_raw(Message::text(packet.clone()));
                if tokio::time::timeout(Duration::from_secs(30), sending).await.is_err() {
                    return;
                }
                accepted.fetch_add(1, Relaxed);
            }
        }));
    }
    // The bursts are within the limits and are not measured.
    eventually("every flood to be past its burst", || async {
        accepted.iter().all(|accepted| accepted.load(Relaxed) > BURST).then_some(())
    })
    .await;
    let flooded = median(&mut neighbour, room).await;
    floods.iter().for_each(tokio::task::JoinHandle::abort);
    // A factor that noise does not reach, but a gateway without rate limits does.
    let most = quiet * 10 + Duration::from_millis(50);
    assert!(flooded < most, "quiet {quiet:?}, flooded {flooded:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_to_pings_are_rate_limited() {
    let (_system, gateway, _ada) = system_with(&[]).await;
    // 5,000 in one body, which no honest client sends.
    let session = stories::PollingSession::open(&gateway.base, "/socket.io/").await;
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
    // A client that answers pings and sends some itself is far below the limit.
    let (mut wire, _) = WebSocket::session(&gateway.base, "/socket.io/").await;
    for _ in 0..50 {
        wire.send("2y").await;
        assert_eq!(wire.next_but_ping().await, Message::text("3y"));
    }
}

/// The median time from sending a message to its acknowledgement.
async fn median(socket: &mut Socket, room: protocol::RoomId) -> Duration {
    let mut times = Vec::new();
    for _ in 0..15 {
        let started = Instant::now();
        socket.ok("send-msg", json!({ "roomId": room, "msg": "and I?" })).await;
        times.push(started.elapsed());
        // The pace of a user, within the rate limit.
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    times.sort_unstable();
    times[times.len() / 2]
}
