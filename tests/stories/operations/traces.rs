//! Spans of one send, collected by a real OTLP receiver from all processes.

use reqwest::Method;
use serde_json::json;
use stories::{
    Answer, Database, OtlpReceiver, ReceivedSpan, Server, Socket, System, eventually, free_address,
};

/// The parent's id in [`parent`].
const CLIENT_SPAN: &str = "00f067aa0ba902b7";

/// The context that a client sends.
fn parent(trace: &str, flags: &str) -> String {
    format!("00-{trace}-{CLIENT_SPAN}-{flags}")
}

/// Functions, two gateways and an archive that export to a receiver.
struct Traced {
    system: System,
    receiver: OtlpReceiver,
    functions: Server,
    gateways: [Server; 2],
    archive: tokio::process::Child,
}

async fn traced_system() -> Traced {
    let mut system = System::new(Database::Sqlite).await;
    let receiver = OtlpReceiver::start().await;
    system.set_variable("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.endpoint);
    system.set_variable("OTEL_BSP_SCHEDULE_DELAY", "100");
    let archive = system.start_process("archive", &["--follow"]);
    let functions = system.start_server("functions", |_| {}).await;
    let gateway = |name: &'static str| {
        system.start_server("gateway", move |command| {
            command.env("OTEL_SERVICE_NAME", name);
        })
    };
    let gateways = [gateway("gateway-1").await, gateway("gateway-2").await];
    Traced { system, receiver, functions, gateways, archive }
}

fn only(spans: Vec<ReceivedSpan>) -> ReceivedSpan {
    let [span] = <[_; 1]>::try_from(spans).unwrap();
    span
}

/// From the message that was published on, the trace is the same for both ways to send: delivered by both gateways, and
/// archived.
async fn check_delivery(receiver: &OtlpReceiver, trace: &str, publish: &ReceivedSpan) {
    let delivered = receiver.expect(trace, "deliver", 2).await;
    let mut services: Vec<_> = delivered.iter().map(|span| span.service.as_str()).collect();
    services.sort_unstable();
    assert_eq!(services, ["gateway-1", "gateway-2"]);
    let archived = only(receiver.expect(trace, "archive", 1).await);
    assert_eq!(archived.service, "archive");
    for span in delivered.iter().chain([&archived]) {
        assert_eq!(span.parent, publish.id, "{span:?}");
        assert!(!span.is_failed, "{span:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_leads_from_a_send_to_its_deliveries_and_the_archive() {
    const REQUEST: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const UNSAMPLED: &str = "5bf92f3577b34da6a3ce929d0e0e4736";
    const CONNECTION: &str = "6bf92f3577b34da6a3ce929d0e0e4736";
    let Traced { system, receiver, functions, gateways, archive: _archive } = traced_system().await;
    let (ada, bob) = (system.user("ada").await, system.user("bob").await);
    let room = ada.create_room("lobby").await;
    let ticket = bob.join_data("lobby", None).await;
    let mut reader = Socket::connect(&gateways[1].base, &bob.access).await;
    reader.ok("join-room", ticket).await;
    let handshake = parent(CONNECTION, "01");
    let mut sender = Socket::connect_in_trace(&gateways[0].base, &ada.access, &handshake).await;
    sender.ok("join-room", ada.join_data("lobby", None).await).await;

    // Over HTTP, in the client's trace.
    let mut send = async |trace: &str, flags: &str| {
        let request = ada.at(&functions.base).request(Method::POST, "/room/lobby/message");
        let body = json!({ "id": uuid::Uuid::now_v7(), "msg": "over HTTP" });
        let request = request.header("traceparent", parent(trace, flags)).json(&body);
        assert_eq!(Answer::of(request).await.status, 201);
        reader.expect("receive-msg").await;
    };
    send(UNSAMPLED, "00").await;
    send(REQUEST, "01").await;
    let request = only(receiver.expect(REQUEST, "POST /room/{name}/message", 1).await);
    assert_eq!((request.service.as_str(), request.parent.as_str()), ("functions", CLIENT_SPAN));
    let publish = only(receiver.expect(REQUEST, "publish", 1).await);
    assert_eq!((publish.service.as_str(), &publish.parent), ("functions", &request.id));
    assert!(receiver.expect(REQUEST, "statement", 1).await.iter().all(|s| s.parent == request.id));
    check_delivery(&receiver, REQUEST, &publish).await;

    // By a socket, in the trace of its handshake.
    let id = uuid::Uuid::now_v7();
    sender.ok("send-msg", json!({ "roomId": room, "msg": "by socket", "id": id })).await;
    let event = only(receiver.expect(CONNECTION, "send-msg", 1).await);
    assert_eq!((event.service.as_str(), event.parent.as_str()), ("gateway-1", CLIENT_SPAN));
    let publish = only(receiver.expect(CONNECTION, "publish", 1).await);
    assert_eq!((publish.service.as_str(), &publish.parent), ("gateway-1", &event.id));
    check_delivery(&receiver, CONNECTION, &publish).await;

    // Without a context, an event is the root of its trace.
    reader.ok("send-msg", json!({ "roomId": room, "msg": "a root" })).await;
    let root = eventually("a trace of its own", || async {
        let is_root = |span: &ReceivedSpan| span.name == "send-msg" && span.parent.is_empty();
        receiver.spans().into_iter().find(is_root)
    });
    let root = root.await;
    let publish = only(receiver.expect(&root.trace, "publish", 1).await);
    check_delivery(&receiver, &root.trace, &publish).await;

    // All later spans have arrived, so the unsampled ones were not exported.
    assert!(receiver.spans().iter().all(|span| span.trace != UNSAMPLED));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_is_away_delays_nothing_and_is_logged_once() {
    let system = System::new(Database::Sqlite).await;
    let metrics = free_address();
    let functions = system.start_server("functions", |command| {
        command.envs([("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")]);
        command.envs([("OTEL_BSP_SCHEDULE_DELAY", "50"), ("METRICS_LISTEN", metrics.as_str())]);
    });
    let mut functions = functions.await;
    let ada = system.user("ada").await.at(&functions.base);
    ada.create_room("lobby").await;
    let failed = |text: &str| {
        let line = text
            .lines()
            .find(|line| line.starts_with("chat_trace_spans_total{outcome=\"failed\"}"))?;
        line.rsplit(' ').next()?.parse::<u64>().ok()
    };
    for least in [1, 20] {
        eventually("failed exports", || async {
            ada.post_message("lobby", "hi").await;
            let text = system.http.get(format!("http://{metrics}/metrics")).send().await.ok()?;
            (failed(&text.text().await.ok()?)? >= least).then_some(())
        })
        .await;
    }
    functions.stop().await;
    let log = std::fs::read_to_string(system.folder().join("functions.log")).unwrap();
    assert_eq!(log.matches("spans were lost").count(), 1, "{log}");
}
