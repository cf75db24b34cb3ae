//! The metrics of a gateway, and its one log line for each socket.

use serde_json::{Value, json};
use stories::{
    Database, PollingSession, Socket, System,
    engine_io::{CLOSE, RawWebSocket},
    eventually, free_address,
};

/// The lines about the ends of sockets in a log.
fn socket_lines(log: &str) -> Vec<Value> {
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["fields"]["message"] == "a socket ended").collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_has_metrics_and_logs_each_socket() {
    let system = System::new(Database::Sqlite).await;
    let mut metrics = String::new();
    let gateway = system.start_server("gateway", |command| {
        metrics = free_address();
        command.envs([("METRICS_LISTEN", metrics.as_str()), ("LOG_FORMAT", "json")]);
    });
    let mut gateway = gateway.await;
    let base = gateway.base.clone();
    let ada = system.user("ada").await;
    let room = ada.create_room("lobby").await;
    let polling = PollingSession::open(&base, "/socket.io/").await;
    let mut socket = Socket::connect(&base, &ada.access).await;
    socket.ok("join-room", ada.join_data("lobby", Some(0)).await).await;
    socket.ok("send-msg", json!({ "roomId": room, "msg": "a secret of mine" })).await;
    socket.expect("receive-msg").await;
    socket.refused("shout", json!({}), "unknown-event").await;
    let metrics = || async {
        let answer = system.http.get(format!("http://{metrics}/metrics")).send().await;
        Some(answer.ok()?.text().await.unwrap())
    };
    let text = eventually("metrics", metrics).await;
    for line in [
        "chat_gateway_sockets{transport=\"websocket\"} 1",
        "chat_gateway_sockets{transport=\"polling\"} 1",
        "chat_gateway_rooms 1",
        "chat_gateway_events_total{event=\"send-msg\"} 1",
        "chat_gateway_events_total{event=\"join-room\"} 1",
        "chat_gateway_events_out_total{event=\"receive-msg\"} 1",
        "chat_gateway_deliveries_total",
        "chat_gateway_writes_total",
        "chat_gateway_received_bytes_total",
        "chat_gateway_sent_bytes_total",
        "chat_gateway_store_seconds_bucket",
        "chat_gateway_outgoing_events 0",
        "chat_gateway_inbox_commands{worker=\"0\"}",
        "chat_gateway_replays_total{recovered=\"true\"} 1",
        "chat_gateway_refusals_total{code=\"unknown-event\"} 1",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    drop(polling);
    // A close with an invalid code is a violation too.
    let mut raw = RawWebSocket::session(&base).await;
    raw.frame(CLOSE, &999_u16.to_be_bytes()).await;
    assert_eq!(raw.closed().await, Some(1002));
    socket.send("4nonsense").await;
    socket.closed().await;
    eventually("the end to be counted", || async {
        let text = metrics().await?;
        let ended = "chat_gateway_sockets_ended_total{reason=\"not a Socket.IO packet\"} 1";
        let are_counted = text.contains(ended) && text.contains("chat_gateway_violations_total 2");
        are_counted.then_some(())
    })
    .await;
    gateway.stop().await;
    let log = std::fs::read_to_string(system.folder().join("gateway.log")).unwrap();
    let lines = socket_lines(&log);
    assert_eq!(lines.len(), 3, "{log}");
    let fields = &lines.iter().find(|line| !line["fields"]["user"].is_null()).unwrap()["fields"];
    assert_eq!((&fields["user"], &fields["events"]), (&json!(ada.id.to_string()), &json!(3)));
    assert_eq!(fields["reason"], "not a Socket.IO packet");
    for number in ["seconds", "received", "sent"] {
        assert!(fields[number].is_u64(), "{fields}");
    }
    for secret in [ada.access.as_str(), "a secret of mine", "\"ada\"", "lobby"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}
