//! Clients that read slowly, send nothing, or use connections and sessions of others.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stories::{
    Closed, PollingSession, Socket,
    engine_io::{RawWebSocket, TEXT},
};

use super::hostile_client::Fixture;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_gets_lag_and_misses_nothing() {
    let mut fixture = Fixture::with(&[
        ("LIMIT_EVENT_RATE", "0"),
        ("LIMIT_EVENT_BURST", "0"),
        ("LIMIT_USER_EVENT_RATE", "0"),
        ("LIMIT_ROOM_EVENT_RATE", "0"),
        ("LIMIT_MESSAGE_CHARS", "0"),
        ("PING_INTERVAL_SECONDS", "600"),
    ])
    .await;
    let (base, room) = (fixture.gateway.base.clone(), fixture.room);
    let data = fixture.mallory.join_data("lobby", None).await;
    let mut raw = RawWebSocket::authenticated(&base, &fixture.mallory.access).await;
    raw.frame(TEXT, format!("420{}", json!(["join-room", data])).as_bytes()).await;
    raw.until(b"430[{\"ok\":true").await;
    // More than the buffers of two TCP sockets and the gateway's megabyte hold.
    let mut sent = Vec::new();
    for _ in 0..800 {
        let data = json!({ "roomId": room, "msg": "x".repeat(25_000) });
        sent.push(fixture.watcher.ok("send-msg", data).await["seq"].as_u64().unwrap());
    }
    let mut read = raw.until(b"42[\"lag\",").await;
    if !read.ends_with(b"]") {
        read.extend(raw.until(b"]").await);
    }
    let read = String::from_utf8_lossy(&read).into_owned();
    let (before, lag) = read.split_once("42[\"lag\",").unwrap();
    let lag: Value = serde_json::from_str(lag.trim_end_matches(']')).unwrap();
    let received = before.matches("\"receive-msg\"").count();
    assert!(received < sent.len());
    assert_eq!(lag, json!({ "roomId": room, "last": sent[received - 1] }), "all before has come");

    // A socket does not replay so much; history has it in pages.
    let mut again = fixture.mallory.connect(&fixture.gateway).await;
    let join = fixture.mallory.join_data("lobby", lag["last"].as_u64()).await;
    assert_eq!(again.ok("join-room", join).await["recovered"], false);
    let mut after = lag["last"].as_u64().unwrap();
    let mut paged = Vec::new();
    while after < *sent.last().unwrap() {
        let path = format!("/room/lobby/message?after={after}&limit=200");
        let page = fixture.mallory.get(&path).await.ok();
        let items = page["items"].as_array().unwrap();
        paged.extend(items.iter().map(|item| item["seq"].as_u64().unwrap()));
        after = *paged.last().unwrap();
    }
    assert_eq!(paged, sent[received..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_replays_of_a_slow_client_are_complete() {
    let mut fixture = Fixture::with(&[
        ("LIMIT_EVENT_RATE", "0"),
        ("LIMIT_EVENT_BURST", "0"),
        ("LIMIT_USER_EVENT_RATE", "0"),
        ("LIMIT_ROOM_EVENT_RATE", "0"),
    ])
    .await;
    let mut joins = Vec::new();
    for n in 0..20 {
        let name = format!("room-{n}");
        let room = fixture.ada.create_room(&name).await;
        fixture.watcher.ok("join-room", fixture.ada.join_data(&name, None).await).await;
        let first = json!({ "roomId": room, "msg": "first" });
        let after = fixture.watcher.ok("send-msg", first).await["seq"].as_u64();
        let mut acks = Vec::new();
        for _ in 0..100 {
            let data = json!({ "roomId": room, "msg": "한".repeat(4_000) });
            acks.push(fixture.watcher.emit("send-msg", data).await);
        }
        for ack in acks {
            assert_eq!(fixture.watcher.ack(ack).await["ok"], true);
        }
        joins.push(fixture.mallory.join_data(&name, after).await);
    }
    // All rooms at once, by a client that then does not read for a while: 24 MB, which wait in NATS and not
    // in the gateway.
    let mut socket = fixture.mallory.connect(&fixture.gateway).await;
    let mut acks = Vec::new();
    for join in joins {
        acks.push(socket.emit("join-room", join).await);
    }
    // The pause is the attack: the client does not read while the gateway replays.
    tokio::time::sleep(Duration::from_millis(500)).await;
    for ack in acks {
        assert_eq!(socket.ack(ack).await["recovered"], true);
    }
    let received = socket.stored().iter().filter(|(name, ..)| name == "receive-msg").count();
    assert_eq!(received, 20 * 100);
    fixture.watcher.forget();
    fixture.still_works().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_and_dripping_connections_are_closed() {
    let mut fixture = Fixture::new().await;
    let base = fixture.gateway.base.clone();
    let started = Instant::now();
    let mut silent = RawWebSocket::connect(&base).await;
    let mut dripping = RawWebSocket::connect(&base).await;
    dripping.write(b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nX: ").await;
    let drip = async {
        loop {
            dripping.write(b"a").await;
            // The pace of the attack: a byte often enough to look alive.
            tokio::time::sleep(Duration::from_millis(100)).await;
            if started.elapsed() > Duration::from_secs(12) {
                return dripping.rest().await;
            }
        }
    };
    let (nothing, _) = tokio::join!(silent.rest(), drip);
    assert_eq!(nothing, b"");
    assert!(started.elapsed() < Duration::from_secs(15));
    // Endless headers are refused at once.
    let mut greedy = RawWebSocket::connect(&base).await;
    greedy.write(b"GET /socket.io/ HTTP/1.1\r\n").await;
    greedy.write(format!("X: {}\r\n", "a".repeat(200_000)).as_bytes()).await;
    let answer = String::from_utf8_lossy(&greedy.rest().await).into_owned();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    fixture.still_works().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polling_sessions_cannot_be_taken_over() {
    let mut fixture = Fixture::new().await;
    let other = fixture.system.start_gateway().await;
    let session = PollingSession::open(&fixture.gateway.base, "/socket.io/").await;
    let at = |base: &str, sid: &str| {
        let url = format!("{base}/socket.io/?EIO=4&transport=polling&sid={sid}");
        fixture.system.http.post(url).body("40").send()
    };
    // The session of another gateway, a changed secret, an unknown session, and an invalid one.
    let mut changed = session.sid.clone().into_bytes();
    let last = changed.len() - 2;
    changed[last] = if changed[last] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).unwrap();
    for (base, sid) in [
        (&other.base, session.sid.as_str()),
        (&fixture.gateway.base, &changed),
        (&fixture.gateway.base, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        (&fixture.gateway.base, "x"),
    ] {
        let answer = at(base, sid).await.unwrap();
        assert_eq!(answer.status(), 400);
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body, json!({ "code": 1, "message": "Session ID unknown" }));
    }
    // A page of another site is refused, and so is a body that is too big.
    let url = format!("{}/socket.io/?EIO=4&transport=polling", fixture.gateway.base);
    let foreign = fixture
        .system
        .http
        .get(&url)
        .header("origin", "https://evil.example")
        .send()
        .await
        .unwrap();
    assert_eq!(foreign.status(), 403);
    assert!(!foreign.headers().contains_key("access-control-allow-origin"));
    let own =
        fixture.system.http.get(&url).header("origin", &fixture.system.base).send().await.unwrap();
    assert_eq!(own.headers()["access-control-allow-origin"], fixture.system.base.as_str());
    assert_eq!(own.headers()["access-control-allow-credentials"], "true");
    assert_eq!(session.post("4".repeat(64 * 1024 + 1)).await.0, 413);
    // The session itself still works.
    let auth = json!({ "token": fixture.mallory.access });
    assert_eq!(session.post(format!("40{auth}")).await.0, 200);
    session.until("40{\"sid\"").await;
    let join = fixture.mallory.join_data("lobby", None).await;
    session.post(format!("421{}", json!(["join-room", join]))).await;
    session.until("431[{\"ok\":true").await;
    let sent =
        fixture.watcher.ok("send-msg", json!({ "roomId": fixture.room, "msg": "by post" })).await;
    let event = session.until("42[\"receive-msg\"").await;
    assert!(event.contains(&format!("\"seq\":{}", sent["seq"])), "{event}");
    fixture.watcher.expect("receive-msg").await;
    // Logout ends it: it receives `session-expired`, and then the session is unknown.
    fixture.mallory.post("/logout", json!({})).await.ok();
    session.until("42[\"session-expired\"").await;
    let ended = stories::eventually("the session to be gone", || async {
        let (status, _) = session.get().await;
        (status == 400).then_some(())
    });
    ended.await;
    fixture.still_works().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_connects_close_the_socket() {
    let mut fixture = Fixture::new().await;
    let auth = json!({ "token": fixture.mallory.access });
    // Each packet costs the verification of a signature, whether it is valid or not.
    for packets in
        [vec![format!("40{auth}"), "41".to_owned()], vec!["40{\"token\":\"x\"}".to_owned()]]
    {
        let mut socket = Socket::open(&fixture.gateway.base).await;
        for _ in 0..50 {
            for packet in &packets {
                socket
                    .send_raw(tokio_tungstenite::tungstenite::Message::text(packet.clone()))
                    .await;
            }
        }
        assert_eq!(socket.closed().await, Closed::Code(1008));
    }
    fixture.still_works().await;
}
