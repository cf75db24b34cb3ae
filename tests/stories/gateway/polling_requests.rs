//! Requests of long polling: how many packets a body holds, and requests that their client aborts.

use std::time::Duration;

use serde_json::{Value, json};
use stories::{
    Database, Gateway, PollingSession, System, User, engine_io::RawWebSocket, eventually,
};

/// The most packets that python-engineio accepts in a body.
const MAX_PACKETS: usize = 16;

async fn echo() -> (System, Gateway) {
    let mut system = System::new(Database::Sqlite).await;
    system.set_variable("CONFORMANCE_ECHO", "true");
    let gateway = system.start_gateway().await;
    (system, gateway)
}

async fn chat() -> (System, Gateway, User) {
    let system = System::new(Database::Sqlite).await;
    let gateway = system.start_gateway().await;
    let ada = system.user("ada").await;
    ada.create_room("lobby").await;
    (system, gateway, ada)
}

/// A session that is authenticated.
async fn connected(gateway: &Gateway, user: &User) -> PollingSession {
    let session = PollingSession::open(&gateway.base, "/socket.io/").await;
    session.post(format!("40{}", json!({ "token": user.access }))).await;
    session.until("40{\"sid\"").await;
    session
}

/// Polls until `is_over`; returns the packets. Each body has at most 16.
async fn packets(session: &PollingSession, is_over: impl Fn(&[String]) -> bool) -> Vec<String> {
    let mut packets = Vec::new();
    while !is_over(&packets) {
        let (status, body) = session.get().await;
        assert_eq!(status, 200, "{packets:?}");
        let count = body.split('\u{1e}').count();
        assert!(count <= MAX_PACKETS, "{count} packets in a body");
        packets.extend(body.split('\u{1e}').map(str::to_owned));
    }
    packets
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_holds_at_most_16_packets_and_none_is_lost() {
    let (_system, gateway) = echo().await;
    for count in [1, 15, 16, 17, 32, 33, 500] {
        let session = PollingSession::open(&gateway.base, "/engine.io/").await;
        let sent: Vec<String> = (0..count)
            .map(|n| if n % 7 == 3 { "bAQIDBA==".to_owned() } else { format!("4{n}") })
            .collect();
        // A client may post any number of packets.
        assert_eq!(session.post(sent.join("\u{1e}")).await, (200, "ok".to_owned()));
        let back = packets(&session, |packets| packets.len() >= count).await;
        assert_eq!(back, sent);
        // Nothing is left: the next packet is alone.
        session.post("4end").await;
        assert_eq!(session.get().await, (200, "4end".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_replay_and_live_events_arrive_16_at_a_time() {
    let (_system, gateway, ada) = chat().await;
    for n in 0..100 {
        ada.post_message("lobby", &format!("{n}")).await;
    }
    let session = connected(&gateway, &ada).await;
    let join = json!(["join-room", ada.join_data("lobby", Some(0)).await]);
    session.post(format!("421{join}")).await;
    for n in 100..150 {
        ada.post_message("lobby", &format!("{n}")).await;
    }
    let messages = |packets: &[String]| -> Vec<String> {
        let events = packets.iter().filter_map(|packet| packet.strip_prefix("42"));
        let events = events.map(|json| serde_json::from_str::<Value>(json).unwrap());
        let messages = events.filter(|event| event[0] == "receive-msg");
        messages.map(|event| event[1]["msg"].as_str().unwrap().to_owned()).collect()
    };
    let all = packets(&session, |packets| messages(packets).len() >= 150).await;
    assert_eq!(messages(&all), (0..150).map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(all.iter().any(|packet| packet.starts_with("431[{\"ok\":true")));
}

/// Sends a poll and hangs up while it waits.
async fn abort_poll(gateway: &Gateway, path: &str, session: &PollingSession) {
    let mut raw = RawWebSocket::connect(&gateway.base).await;
    let query = format!("{path}?EIO=4&transport=polling&sid={}", session.sid);
    raw.write(format!("GET {query} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await;
    // The gateway sends nothing that shows that the poll waits.
    tokio::time::sleep(Duration::from_millis(50)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aborted_poll_ends_the_session() {
    let (_system, gateway) = echo().await;
    for path in ["/engine.io/", "/socket.io/"] {
        let session = PollingSession::open(&gateway.base, path).await;
        abort_poll(&gateway, path, &session).await;
        assert_eq!(session.get().await.0, 400, "{path}");
        assert_eq!(session.post("4x").await.0, 400, "{path}");
    }
}

/// Sends a part of a body and hangs up.
async fn abort_post(gateway: &Gateway, session: &PollingSession) {
    let mut raw = RawWebSocket::connect(&gateway.base).await;
    let query = format!("/socket.io/?EIO=4&transport=polling&sid={}", session.sid);
    let head = format!("POST {query} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n42[");
    raw.write(head.as_bytes()).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aborted_request_takes_the_user_offline_at_once() {
    let (system, gateway, ada) = chat().await;
    let (mut watcher, _) = ada.join(&gateway, "lobby").await;
    for name in ["polls", "posts"] {
        let bob = system.user(name).await;
        let session = connected(&gateway, &bob).await;
        let join = json!(["join-room", bob.join_data("lobby", None).await]);
        session.post(format!("421{join}")).await;
        session.until("431[{\"ok\":true").await;
        watcher.expect_where("presence", |data| data["joined"][0]["id"] == json!(bob.id)).await;
        match name {
            "polls" => abort_poll(&gateway, "/socket.io/", &session).await,
            _ => abort_post(&gateway, &session).await,
        }
        watcher.expect_where("presence", |data| !data["left"].as_array().unwrap().is_empty()).await;
        assert_eq!(session.get().await.0, 400, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poll_aborted_after_the_upgrade_changes_nothing() {
    let (_system, gateway) = echo().await;
    let session = PollingSession::open(&gateway.base, "/engine.io/").await;
    let path = format!("/engine.io/?EIO=4&transport=websocket&sid={}", session.sid);
    let mut wire = stories::WebSocket::open(&gateway.base, &path).await;
    wire.send("2probe").await;
    assert_eq!(wire.text().await, "3probe");
    wire.send("5").await;
    wire.send("4first").await;
    assert_eq!(wire.text().await, "4first");
    abort_poll(&gateway, "/engine.io/", &session).await;
    eventually("the request to be refused", || async {
        (session.get().await.0 == 400).then_some(())
    })
    .await;
    wire.send("4second").await;
    assert_eq!(wire.text().await, "4second");
}
