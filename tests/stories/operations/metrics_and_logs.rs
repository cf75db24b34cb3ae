//! What an operator sees of a gateway: metrics, and one line of log for each socket.

use std::process::Stdio;

use serde_json::{Value, json};
use stories::{Database, Polling, Socket, World, eventually};

const ADDRESS: &str = "127.0.0.1:18475";
const METRICS: &str = "127.0.0.1:18476";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_gateway_does_is_counted_and_a_socket_leaves_one_line() {
    let world = World::new(Database::Sqlite).await;
    let gateway = world.gateway_process(ADDRESS, |command| {
        let watched = [("METRICS_LISTEN", METRICS), ("LOG_FORMAT", "json")];
        command.envs(watched).stderr(Stdio::piped());
    });
    let gateway = gateway.await;
    let base = format!("http://{ADDRESS}");
    let ada = world.user("ada").await;
    let room = ada.create_room("lobby").await;
    let polling = Polling::open(&base, "/socket.io/").await;
    let mut socket = Socket::connect(&base, &ada.access).await;
    socket.ok("join-room", ada.join_data("lobby", Some(0)).await).await;
    socket.ok("send-msg", json!({ "roomId": room, "msg": "a secret of mine" })).await;
    socket.expect("receive-msg").await;
    socket.refused("shout", json!({}), "unknown-event").await;
    let metrics = || async {
        Some(
            world
                .http
                .get(format!("http://{METRICS}/metrics"))
                .send()
                .await
                .ok()?
                .text()
                .await
                .unwrap(),
        )
    };
    let text = eventually("metrics", metrics).await;
    for line in [
        "gateway_sockets{transport=\"websocket\"} 1",
        "gateway_sockets{transport=\"polling\"} 1",
        "gateway_rooms 1",
        "gateway_events_total{event=\"send-msg\"} 1",
        "gateway_events_total{event=\"join-room\"} 1",
        "gateway_events_out_total{event=\"receive-msg\"} 1",
        "gateway_deliveries_total",
        "gateway_writes_total",
        "gateway_received_bytes_total",
        "gateway_sent_bytes_total",
        "gateway_store_seconds_bucket",
        "gateway_outgoing_events 0",
        "gateway_inbox{shard=\"0\"}",
        "gateway_replays_total{recovered=\"true\"} 1",
        "gateway_refusals_total{code=\"unknown-event\"} 1",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    drop(polling);
    socket.send("4nonsense").await;
    socket.closed().await;
    eventually("the end to be counted", || async {
        let line = "gateway_sockets_ended_total{reason=\"not a Socket.IO packet\"} 1";
        metrics().await?.contains(line).then_some(())
    })
    .await;
    stories::signal(gateway.id().unwrap(), "-TERM");
    let output = gateway.wait_with_output().await.unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &Value| line["fields"]["message"] == "a socket ended")
        .collect();
    assert_eq!(lines.len(), 2, "{log}");
    let fields =
        &lines.iter().find(|line| line["fields"]["transport"] == "websocket").unwrap()["fields"];
    assert_eq!((&fields["user"], &fields["events"]), (&json!(ada.id.to_string()), &json!(3)));
    assert_eq!(fields["reason"], "not a Socket.IO packet");
    for number in ["seconds", "received", "sent"] {
        assert!(fields[number].is_u64(), "{fields}");
    }
    for secret in [ada.access.as_str(), "a secret of mine", "\"ada\"", "lobby"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}
