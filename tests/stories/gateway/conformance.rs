//! Engine.IO v4 and Socket.IO v5 as their documents have it, told to the echo handlers that the
//! protocols' conformance suites want. Those suites can be run against the same switch; README.md
//! says how.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stories::{Database, Gateway, Polling, Wire, World, eventually};
use tokio_tungstenite::tungstenite::Message;

const ENGINE: &str = "/engine.io/";
const SOCKET: &str = "/socket.io/";

/// The suites' settings, but for the times that a client may take: two busy cores may need more.
async fn echo() -> (World, Gateway) {
    echo_with(&[]).await
}

async fn echo_with(variables: &[(&str, &str)]) -> (World, Gateway) {
    let mut world = World::new(Database::Sqlite).await;
    let usual = [
        ("CONFORMANCE_ECHO", "true"),
        ("PING_INTERVAL_SECONDS", "0.3"),
        ("PING_TIMEOUT_SECONDS", "10"),
        ("LIMIT_FRAME_BYTES", "1000000"),
    ];
    usual.iter().chain(variables).for_each(|(name, value)| world.set(name, value));
    let gateway = world.gateway().await;
    (world, gateway)
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
    let (world, gateway) = echo().await;
    for path in [ENGINE, SOCKET] {
        is_handshake(&Polling::open(&gateway.base, path).await.handshake, &json!(["websocket"]));
        is_handshake(&Wire::session(&gateway.base, path).await.1, &json!([]));
        for query in
            ["transport=polling", "EIO=abc&transport=polling", "EIO=4", "EIO=4&transport=abc"]
        {
            let answer =
                world.http.get(format!("{}{path}?{query}", gateway.base)).send().await.unwrap();
            assert_eq!(answer.status(), 400, "{query}");
            let refused =
                Wire::try_open(&gateway.base, &format!("{path}?{query}")).await.err().unwrap();
            assert_eq!(refused, 400, "{query}");
        }
        for method in [reqwest::Method::POST, reqwest::Method::PUT] {
            let url = format!("{}{path}?EIO=4&transport=polling", gateway.base);
            let answer = world.http.request(method, url).send().await.unwrap();
            assert_eq!(answer.status(), 400);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_come_back_over_both_transports() {
    let (_world, gateway) = echo().await;
    let session = Polling::open(&gateway.base, ENGINE).await;
    for body in ["4hello", "4test1\u{1e}4test2\u{1e}4test3", "4hello\u{1e}bAQIDBA=="] {
        let session = Polling::open(&gateway.base, ENGINE).await;
        assert_eq!(session.post(body).await, (200, "ok".to_owned()));
        assert_eq!(session.get().await, (200, body.to_owned()));
    }
    assert_eq!(session.post("abc").await.0, 400);
    assert_eq!(session.get().await.0, 400, "a packet that is none ends the session");

    let (mut wire, _) = Wire::session(&gateway.base, ENGINE).await;
    wire.send("4hello").await;
    assert_eq!(wire.next_but_ping().await, Message::text("4hello"));
    wire.send_binary(&[1, 2, 3, 4]).await;
    assert_eq!(wire.next_but_ping().await, Message::binary(vec![1, 2, 3, 4]));
    wire.send("abc").await;
    wire.closed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_polls_at_once_end_the_session() {
    let (_world, gateway) = echo().await;
    let session = Polling::open(&gateway.base, ENGINE).await;
    let (mut first, mut second) = (Box::pin(session.get()), Box::pin(session.get()));
    let (first, second) = tokio::join!(&mut first, async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        (&mut second).await
    });
    assert_eq!(first, (200, "1".to_owned()));
    assert_eq!(second.0, 400);
    assert_eq!(session.get().await.0, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hearts_beat_on_both_transports() {
    let (_world, gateway) = echo().await;
    for path in [ENGINE, SOCKET] {
        let session = Polling::open(&gateway.base, path).await;
        let (mut wire, _) = Wire::session(&gateway.base, path).await;
        for _ in 0..3 {
            assert_eq!(session.get().await, (200, "2".to_owned()));
            assert_eq!(session.post("3").await.0, 200);
            assert_eq!(wire.text().await, "2");
            wire.send("3").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_answer_a_ping_is_gone() {
    let (_world, gateway) = echo_with(&[("PING_TIMEOUT_SECONDS", "0.2")]).await;
    for path in [ENGINE, SOCKET] {
        let started = Instant::now();
        let silent = Polling::open(&gateway.base, path).await;
        Wire::session(&gateway.base, path).await.0.closed().await;
        // Not before the time is over; the rounding of deadlines takes 3% of it.
        assert!(started.elapsed() > Duration::from_millis(450), "{:?}", started.elapsed());
        eventually("the session to be gone", || async {
            (silent.get().await.0 == 400).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_closed_by_the_client() {
    let (_world, gateway) = echo().await;
    for path in [ENGINE, SOCKET] {
        let session = Polling::open(&gateway.base, path).await;
        let (polled, posted) = tokio::join!(session.get(), async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            session.post("1").await
        });
        assert_eq!((polled, posted.0), ((200, "6".to_owned()), 200));
        assert_eq!(session.get().await.0, 400);
        let (mut wire, _) = Wire::session(&gateway.base, path).await;
        wire.send("1").await;
        wire.closed().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_takes_over_from_long_polling() {
    let (_world, gateway) = echo().await;
    let upgrade = async |session: &Polling| {
        let path = format!("{ENGINE}?EIO=4&transport=websocket&sid={}", session.sid);
        Wire::open(&gateway.base, &path).await
    };
    let session = Polling::open(&gateway.base, ENGINE).await;
    let mut wire = upgrade(&session).await;
    wire.send("2probe").await;
    assert_eq!(wire.text().await, "3probe");
    // The poll ends, so that the client can stop to poll.
    assert_eq!(session.get().await, (200, "6".to_owned()));
    // What is sent before the change is complete goes through it.
    session.post("4late").await;
    wire.send("5").await;
    wire.send("4hello").await;
    assert_eq!(wire.next_but_ping().await, Message::text("4late"));
    assert_eq!(wire.next_but_ping().await, Message::text("4hello"));
    assert_eq!(session.get().await.0, 400);
    assert_eq!(session.post("4x").await.0, 400);
    upgrade(&session).await.closed().await;
    wire.send("4again").await;
    assert_eq!(wire.next_but_ping().await, Message::text("4again"));

    // One that breaks off leaves the session as it was.
    let session = Polling::open(&gateway.base, ENGINE).await;
    let mut wire = upgrade(&session).await;
    upgrade(&session).await.closed().await;
    wire.send("4no probe").await;
    wire.closed().await;
    session.post("4still").await;
    session.until("4still").await;
}

/// Connected to `/`, with the greeting read.
async fn connected(gateway: &Gateway) -> Wire {
    let (mut wire, _) = Wire::session(&gateway.base, SOCKET).await;
    wire.send("40").await;
    wire.next_but_ping().await;
    wire.next_but_ping().await;
    wire
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespaces_are_connected_to_and_left() {
    let (_world, gateway) = echo().await;
    for (connect, greeting, auth) in [
        ("40", "40", r#"42["auth",{}]"#),
        (r#"40{"token":"123"}"#, "40", r#"42["auth",{"token":"123"}]"#),
        ("40/custom,", "40/custom,", r#"42/custom,["auth",{}]"#),
        (r#"40/custom,{"token":"abc"}"#, "40/custom,", r#"42/custom,["auth",{"token":"abc"}]"#),
    ] {
        let (mut wire, _) = Wire::session(&gateway.base, SOCKET).await;
        wire.send(connect).await;
        let connected = wire.text().await;
        let sid: Value = serde_json::from_str(connected.strip_prefix(greeting).unwrap()).unwrap();
        assert!(sid["sid"].is_string() && sid.as_object().unwrap().len() == 1, "{sid}");
        assert_eq!(wire.text().await, auth);
    }
    let (mut wire, _) = Wire::session(&gateway.base, SOCKET).await;
    wire.send("40/random").await;
    assert_eq!(wire.text().await, r#"44/random,{"message":"Invalid namespace"}"#);
    let (mut wire, _) = Wire::session(&gateway.base, SOCKET).await;
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
async fn who_connects_to_no_namespace_is_not_waited_for_though_alive() {
    let (_world, gateway) = echo_with(&[("LIMIT_HANDSHAKE_SECONDS", "1")]).await;
    let (mut wire, _) = Wire::session(&gateway.base, SOCKET).await;
    while let Some(message) = wire.next().await {
        assert_eq!(message, Message::text("2"));
        wire.send("3").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_attachments_and_acknowledgements_come_back() {
    let (_world, gateway) = echo().await;
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
