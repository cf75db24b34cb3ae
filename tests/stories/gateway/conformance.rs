//! Conformance to Engine.IO v4 and Socket.IO v5, tested with the echo handlers that the protocols' own
//! conformance suites require. README.md describes how to run those suites.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stories::{Database, Gateway, PollingSession, System, WebSocket, eventually};
use tokio_tungstenite::tungstenite::Message;

const ENGINE: &str = "/engine.io/";
const SOCKET: &str = "/socket.io/";

/// The settings of the conformance suites, with longer timeouts for busy machines.
async fn echo() -> (System, Gateway) {
    echo_with(&[]).await
}

async fn echo_with(variables: &[(&str, &str)]) -> (System, Gateway) {
    let mut system = System::new(Database::Sqlite).await;
    let usual = [
        ("CONFORMANCE_ECHO", "true"),
        ("PING_INTERVAL_SECONDS", "0.3"),
        ("PING_TIMEOUT_SECONDS", "10"),
        ("LIMIT_FRAME_BYTES", "1000000"),
    ];
    usual.iter().chain(variables).for_each(|(name, value)| system.set_variable(name, value));
    let gateway = system.start_gateway().await;
    (system, gateway)
}

fn is_handshake(handshake: &Value, upgrades: &Value) {
    let fields: Vec<&str> = handshake.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, ["maxPayload", "pingInterval", "pingTimeout", "sid", "upgrades"]);
    assert!(handshake["sid"].is_string());
    assert_eq!(&handshake["upgrades"], upgrades);
    let numbers = ["maxPayload", "pingInterval", "pingTimeout"].map(|name| &handshake[name]);
    assert_eq!(numbers, [1_000_000, 300, 10_000]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_open_or_are_refused() {
    let (system, gateway) = echo().await;
    for path in [ENGINE, SOCKET] {
        is_handshake(
            &PollingSession::open(&gateway.base, path).await.handshake,
            &json!(["websocket"]),
        );
        is_handshake(&WebSocket::session(&gateway.base, path).await.1, &json!([]));
        for query in
            ["transport=polling", "EIO=abc&transport=polling", "EIO=4", "EIO=4&transport=abc"]
        {
            let answer =
                system.http.get(format!("{}{path}?{query}", gateway.base)).send().await.unwrap();
            assert_eq!(answer.status(), 400, "{query}");
            let refused =
                WebSocket::try_open(&gateway.base, &format!("{path}?{query}")).await.err().unwrap();
            assert_eq!(refused, 400, "{query}");
        }
        for method in [reqwest::Method::POST, reqwest::Method::PUT] {
            let url = format!("{}{path}?EIO=4&transport=polling", gateway.base);
            let answer = system.http.request(method, url).send().await.unwrap();
            assert_eq!(answer.status(), 400);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_come_back_over_both_transports() {
    let (_system, gateway) = echo().await;
    let session = PollingSession::open(&gateway.base, ENGINE).await;
    for body in ["4hello", "4test1\u{1e}4test2\u{1e}4test3", "4hello\u{1e}bAQIDBA=="] {
        let session = PollingSession::open(&gateway.base, ENGINE).await;
        assert_eq!(session.post(body).await, (200, "ok".to_owned()));
        assert_eq!(session.get().await, (200, body.to_owned()));
    }
    assert_eq!(session.post("abc").await.0, 400);
    assert_eq!(session.get().await.0, 400, "a packet that is none ends the session");

    let (mut wire, _) = WebSocket::session(&gateway.base, ENGINE).await;
    wire.send("4hello").await;
    assert_eq!(wire.next_but_ping().await, Message::text("4hello"));
    wire.send_binary(&[1, 2, 3, 4]).await;
    assert_eq!(wire.next_but_ping().await, Message::binary(vec![1, 2, 3, 4]));
    wire.send("abc").await;
    wire.closed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_polls_at_once_end_the_session() {
    let (_system, gateway) = echo().await;
    let session = PollingSession::open(&gateway.base, ENGINE).await;
    let (one, other) = tokio::join!(session.get(), session.get());
    // Whichever arrives second is refused and closes the session for the first.
    let (waiting, refused) = if one.0 == 200 { (one, other) } else { (other, one) };
    assert_eq!(waiting, (200, "1".to_owned()));
    assert_eq!(refused.0, 400);
    assert_eq!(session.get().await.0, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_work_on_both_transports() {
    let (_system, gateway) = echo().await;
    for path in [ENGINE, SOCKET] {
        let session = PollingSession::open(&gateway.base, path).await;
        let (mut wire, _) = WebSocket::session(&gateway.base, path).await;
        for _ in 0..3 {
            assert_eq!(session.get().await, (200, "2".to_owned()));
            assert_eq!(session.post("3").await.0, 200);
            assert_eq!(wire.text().await, "2");
            wire.send("3").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_without_pongs_is_closed() {
    let (_system, gateway) = echo_with(&[("PING_TIMEOUT_SECONDS", "0.2")]).await;
    for path in [ENGINE, SOCKET] {
        let started = Instant::now();
        let silent = PollingSession::open(&gateway.base, path).await;
        WebSocket::session(&gateway.base, path).await.0.closed().await;
        // Not before the timeout; the rounding of deadlines may shorten it by 3%.
        assert!(started.elapsed() > Duration::from_millis(450), "{:?}", started.elapsed());
        eventually("the session to be gone", || async {
            (silent.get().await.0 == 400).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_closed_by_the_client() {
    let (_system, gateway) = echo().await;
    for path in [ENGINE, SOCKET] {
        // Nothing shows that the gateway holds a poll. If the close arrives first, the poll is refused and
        // this is tried again with another session.
        eventually("a poll that waits when the close arrives", || async {
            let session = PollingSession::open(&gateway.base, path).await;
            let (polled, posted) = tokio::join!(session.get(), session.post("1"));
            assert_eq!(posted.0, 200);
            assert_eq!(session.get().await.0, 400);
            if polled.0 == 400 {
                return None;
            }
            assert_eq!(polled, (200, "6".to_owned()));
            Some(())
        })
        .await;
        let (mut wire, _) = WebSocket::session(&gateway.base, path).await;
        wire.send("1").await;
        wire.closed().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_upgrades_to_websocket() {
    let (_system, gateway) = echo().await;
    let upgrade = async |session: &PollingSession| {
        let path = format!("{ENGINE}?EIO=4&transport=websocket&sid={}", session.sid);
        WebSocket::open(&gateway.base, &path).await
    };
    let session = PollingSession::open(&gateway.base, ENGINE).await;
    let mut wire = upgrade(&session).await;
    wire.send("2probe").await;
    assert_eq!(wire.text().await, "3probe");
    // The gateway ends the poll, so that the client can stop polling.
    assert_eq!(session.get().await, (200, "6".to_owned()));
    // Packets from before the end of the upgrade arrive after it.
    session.post("4late").await;
    wire.send("5").await;
    wire.send("4hello").await;
    assert_eq!(wire.next_but_ping().await, Message::text("4late"));
    assert_eq!(wire.next_but_ping().await, Message::text("4hello"));
    assert_eq!(session.get().await.0, 400);
    assert_eq!(session.post("4x").await.0, 400);
    // A WebSocket that may not take over the session learns why.
    assert_eq!(upgrade(&session).await.close_code().await, Some(1008));
    wire.send("4again").await;
    assert_eq!(wire.next_but_ping().await, Message::text("4again"));

    // A failed upgrade leaves the session on long polling.
    let session = PollingSession::open(&gateway.base, ENGINE).await;
    for (sent, code) in [("4no probe", 1008), ("5", 1008), ("no packet", 1002)] {
        let mut wire = upgrade(&session).await;
        let mut second = upgrade(&session).await;
        // Also when the gateway has not read everything that it was sent.
        second.send("2probe").await;
        assert_eq!(second.close_code().await, Some(1008));
        wire.send(sent).await;
        assert_eq!(wire.close_code().await, Some(code), "{sent}");
    }
    session.post("4still").await;
    session.until("4still").await;
}

/// A WebSocket that is connected to `/`, with the greeting read.
async fn connected(gateway: &Gateway) -> WebSocket {
    let (mut wire, _) = WebSocket::session(&gateway.base, SOCKET).await;
    wire.send("40").await;
    wire.next_but_ping().await;
    wire.next_but_ping().await;
    wire
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespaces_are_connected_and_disconnected() {
    let (_system, gateway) = echo().await;
    for (connect, greeting, auth) in [
        ("40", "40", r#"42["auth",{}]"#),
        (r#"40{"token":"123"}"#, "40", r#"42["auth",{"token":"123"}]"#),
        ("40/custom,", "40/custom,", r#"42/custom,["auth",{}]"#),
        (r#"40/custom,{"token":"abc"}"#, "40/custom,", r#"42/custom,["auth",{"token":"abc"}]"#),
    ] {
        let (mut wire, _) = WebSocket::session(&gateway.base, SOCKET).await;
        wire.send(connect).await;
        let connected = wire.text().await;
        let sid: Value = serde_json::from_str(connected.strip_prefix(greeting).unwrap()).unwrap();
        assert!(sid["sid"].is_string() && sid.as_object().unwrap().len() == 1, "{sid}");
        assert_eq!(wire.text().await, auth);
    }
    let (mut wire, _) = WebSocket::session(&gateway.base, SOCKET).await;
    wire.send("40/random").await;
    assert_eq!(wire.text().await, r#"44/random,{"message":"Invalid namespace"}"#);
    let (mut wire, _) = WebSocket::session(&gateway.base, SOCKET).await;
    wire.send("4abc").await;
    wire.closed().await;

    let mut wire = connected(&gateway).await;
    wire.send("41").await;
    assert_eq!(wire.text().await, "2", "the connection stays");
    let mut wire = connected(&gateway).await;
    wire.send("40/custom").await;
    wire.next_but_ping().await;
    wire.next_but_ping().await;
    wire.send("41/custom").await;
    wire.send(r#"42["message","to the main namespace"]"#).await;
    let back = Message::text(r#"42["message-back","to the main namespace"]"#);
    assert_eq!(wire.next_but_ping().await, back);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_without_a_namespace_is_closed() {
    let (_system, gateway) = echo_with(&[("LIMIT_HANDSHAKE_SECONDS", "1")]).await;
    let (mut wire, _) = WebSocket::session(&gateway.base, SOCKET).await;
    while let Some(message) = wire.next().await {
        assert_eq!(message, Message::text("2"));
        wire.send("3").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_attachments_and_acknowledgements_come_back() {
    let (_system, gateway) = echo().await;
    let mut wire = connected(&gateway).await;
    for (sent, back) in [
        (r#"42["message",1,"2",{"3":[true]}]"#, r#"42["message-back",1,"2",{"3":[true]}]"#),
        (r#"42456["message-with-ack",1,"2",{"3":[false]}]"#, r#"43456[1,"2",{"3":[false]}]"#),
    ] {
        wire.send(sent).await;
        assert_eq!(wire.next_but_ping().await, Message::text(back));
    }
    let places = r#"{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}"#;
    for (sent, back) in [
        (format!(r#"452-["message",{places}]"#), format!(r#"452-["message-back",{places}]"#)),
        (format!(r#"452-789["message-with-ack",{places}]"#), format!("462-789[{places}]")),
    ] {
        wire.send(&sent).await;
        wire.send_binary(&[1, 2, 3]).await;
        wire.send_binary(&[4, 5, 6]).await;
        assert_eq!(wire.next_but_ping().await, Message::text(back));
        assert_eq!(wire.next_but_ping().await, Message::binary(vec![1, 2, 3]));
        assert_eq!(wire.next_but_ping().await, Message::binary(vec![4, 5, 6]));
    }
    for bad in ["4abc", "42{}", r#"42abc["message-with-ack",1,"2",{"3":[false]}]"#] {
        let mut wire = connected(&gateway).await;
        wire.send(bad).await;
        wire.closed().await;
    }
}
