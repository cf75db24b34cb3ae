//! The memory of a gateway process is bounded, however much its sockets leave unread together.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::future::join_all;
use protocol::{
    DisplayName, MessageId, MessageText, Role, RoomId, Timestamp,
    stored::{Message, Person, StoredEvent},
    subject::Shards,
};
use serde_json::json;
use service::roomlog::RoomLog;
use stories::{Closed, DEADLINE, Database, Server, Socket, System, User, eventually, free_address};
use tokio_util::sync::CancellationToken;

const MIB: u64 = 1024 * 1024;
const BUDGET: u64 = 32 * MIB;
/// Memory besides the budget: sockets, connections to NATS, and what the allocator retains.
const BESIDES: u64 = 32 * MIB;
const ROOMS: usize = 8;
const EVENTS: usize = 700;
const EVENT_BYTES: usize = 8_000;
const READERS: usize = 40;

/// A gateway process whose memory is measured.
struct MeasuredGateway {
    base: String,
    metrics: String,
    process: Server,
    http: reqwest::Client,
}

impl MeasuredGateway {
    async fn start(system: &System, variables: &[(&str, &str)]) -> Self {
        let mut metrics = String::new();
        let process = system.start_server("gateway", |command| {
            metrics = free_address();
            command.env("METRICS_LISTEN", &metrics).envs(variables.iter().copied());
        });
        let process = process.await;
        let (base, http) = (process.base.clone(), system.http.clone());
        Self { base, metrics: format!("http://{metrics}/metrics"), process, http }
    }

    fn resident(&self) -> u64 {
        let status = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// The sum of a metric over all its labels.
    async fn metric(&self, name: &str) -> f64 {
        let text = self.http.get(&self.metrics).send().await.unwrap().text().await.unwrap();
        let of_name = text.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        of_name.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }
}

/// Fills a room with as many long messages as one replay may have.
async fn fill(system: &System, room: RoomId, author: &User) {
    let log = RoomLog::new(system.nats_as("functions").await, Shards::new(1).unwrap());
    let from = Person { id: author.id, name: DisplayName::parse("Ada").unwrap() };
    let mut pending = Vec::new();
    for _ in 0..EVENTS {
        let event = StoredEvent::ReceiveMsg(Message {
            id: MessageId::generate(),
            from: from.clone(),
            msg: MessageText::parse(&"x".repeat(EVENT_BYTES)).unwrap(),
            at: Timestamp::now(),
            file: None,
            reply_to: None,
        });
        let id = uuid::Uuid::now_v7().to_string();
        pending.push(log.append(room, &id, event.encode().into(), None).await.unwrap());
    }
    for pending in pending {
        pending.stored().await.unwrap();
    }
}

/// A socket that joins and does not read.
struct Reader {
    socket: Socket,
    join: u64,
    user: User,
    room: String,
}

impl Reader {
    async fn join(base: &str, user: &User, room: String) -> Self {
        let mut socket = Socket::connect_unbuffered(base, &user.access).await;
        let join = socket.emit("join-room", user.join_data(&room, Some(0)).await).await;
        Self { socket, join, user: user.clone(), room }
    }

    /// Reads everything, with another join if the first one was refused as busy.
    async fn reads_everything(mut self) {
        let mut answer = self.socket.ack(self.join).await;
        while answer["error"]["code"] == "busy" {
            let join = self.user.join_data(&self.room, Some(0)).await;
            answer = self.socket.call("join-room", join).await;
        }
        assert_eq!((&answer["ok"], &answer["recovered"]), (&json!(true), &json!(true)), "{answer}");
        let stored = self.socket.stored();
        assert!(stored.len() > EVENTS, "all messages, and that people came: {}", stored.len());
        let mut last = 0;
        for (name, seq, prev) in stored {
            assert_eq!(prev, last, "{name} {seq}");
            last = seq;
        }
        assert_eq!(answer["head"], json!(last));
    }
}

/// The most memory that a gateway has used since [`PeakMemory::watch`].
struct PeakMemory {
    most: Arc<AtomicU64>,
    ended: CancellationToken,
    watch: tokio::task::JoinHandle<()>,
}

impl PeakMemory {
    fn watch(gateway: Arc<MeasuredGateway>) -> Self {
        let (most, ended) = (Arc::new(AtomicU64::new(0)), CancellationToken::new());
        let watch = tokio::spawn({
            let (most, ended) = (most.clone(), ended.clone());
            async move {
                while !ended.is_cancelled() {
                    most.fetch_max(gateway.resident(), Relaxed);
                    // The sampling interval.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        });
        Self { most, ended, watch }
    }

    async fn end(self) -> u64 {
        self.ended.cancel();
        self.watch.await.unwrap();
        self.most.load(Relaxed)
    }
}

/// Sockets of four users that each join a long room with a replay and do not read it.
async fn join_long_rooms(system: &System, gateway: &MeasuredGateway) -> Vec<Reader> {
    let users = join_all((0..4).map(|n| async move { system.user(&format!("mallory{n}")).await }));
    let users = users.await;
    let readers = (0..READERS).map(|n| {
        let (gateway, user) = (gateway, &users[n % users.len()]);
        async move { Reader::join(&gateway.base, user, format!("long-{}", n % ROOMS)).await }
    });
    join_all(readers).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_replays_stay_within_the_memory_budget() {
    let system = System::new(Database::Sqlite).await;
    let ada = system.user("ada").await;
    let bob = system.user("bob").await;
    for room in 0..ROOMS {
        let id = ada.create_room(&format!("long-{room}")).await;
        fill(&system, id, &ada).await;
    }
    let lobby = ada.create_room("lobby").await;
    let budget = BUDGET.to_string();
    let gateway = [
        ("MEMORY_BUDGET_BYTES", &*budget),
        ("PING_INTERVAL_SECONDS", "600"),
        ("RUST_LOG", "error"),
    ];
    let gateway = Arc::new(MeasuredGateway::start(&system, &gateway).await);

    let mut sockets = Vec::new();
    for user in [&ada, &bob] {
        let mut socket = Socket::connect(&gateway.base, &user.access).await;
        socket.ok("join-room", user.join_data("lobby", None).await).await;
        sockets.push(socket);
    }
    let before = gateway.resident();
    let peak = PeakMemory::watch(gateway.clone());

    let readers = join_long_rooms(&system, &gateway).await;

    // Other users chat until all joins are answered, with success or a refusal.
    let (mut talker, mut listener) = (sockets.pop().unwrap(), sockets.pop().unwrap());
    let mut number = 0;
    let mut chat = async || {
        number += 1;
        let said = json!({ "roomId": lobby, "msg": number.to_string() });
        let sent = talker.ok("send-msg", said).await;
        let heard = listener.expect("receive-msg").await;
        assert_eq!(heard["seq"], sent["seq"]);
    };
    let answered = async || {
        gateway.metric("chat_gateway_replays_total").await
            + gateway.metric("chat_gateway_refusals_total").await
    };
    let all_answered = async {
        while answered().await < READERS as f64 {
            chat().await;
            // The pace of a user, within the rate limit.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(DEADLINE * 6, all_answered).await.unwrap();
    let grown = peak.most.load(Relaxed) - before;
    eprintln!("grew by {} MiB while nothing was read", grown / MIB);
    assert!(grown < BUDGET + BESIDES, "grew by {} MiB", grown / MIB);
    assert!(gateway.metric("chat_gateway_memory_refusals_total").await > 0.0, "it was tight");
    assert_eq!(gateway.metric("chat_gateway_memory_budget_bytes").await, BUDGET as f64);

    // A late reader receives everything.
    join_all(readers.into_iter().map(Reader::reads_everything)).await;
    chat().await;
    let most = peak.end().await;
    eprintln!("at most {} MiB, {} before", most / MIB, before / MIB);
    let grown = most - before;
    assert!(grown < BUDGET + BESIDES, "grew by {} MiB", grown / MIB);
    // All memory of the closed sockets and rooms is released.
    eventually("what was held to be given back", || async {
        (gateway.metric("chat_gateway_memory_used_bytes").await < BUDGET as f64 / 4.0).then_some(())
    })
    .await;
}

const SILENT_ROOMS: u64 = 1_000;

/// Joins new rooms without other members.
async fn join_silent_rooms(system: &System, user: &User, socket: &mut Socket, count: u64) {
    for _ in 0..count {
        let room = RoomId::generate();
        let ticket = system.ticket(user, room, Role::Member);
        let join = json!({ "roomId": room, "userId": user.id.to_string(), "ticket": ticket });
        socket.ok("join-room", join).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_room_uses_little_memory() {
    let system = System::new(Database::Sqlite).await;
    let ada = system.user("ada").await;
    let unlimited = ["LIMIT_ROOMS_PER_SOCKET", "LIMIT_EVENT_RATE", "LIMIT_EVENT_BURST"];
    let mut variables = unlimited.map(|name| (name, "0")).to_vec();
    variables.extend([("PING_INTERVAL_SECONDS", "600"), ("RUST_LOG", "error")]);
    let gateway = MeasuredGateway::start(&system, &variables).await;
    let mut socket = Socket::connect(&gateway.base, &ada.access).await;
    // Memory that the first rooms allocate once is not counted.
    join_silent_rooms(&system, &ada, &mut socket, 50).await;
    let before = gateway.resident();
    join_silent_rooms(&system, &ada, &mut socket, SILENT_ROOMS).await;
    // Temporary memory of the joins is released soon.
    let costs = || gateway.resident().saturating_sub(before) / SILENT_ROOMS;
    eventually("rooms to cost less than 6 KiB each", || async {
        (costs() < 6 * 1024).then_some(())
    })
    .await;
    eprintln!("{} bytes a room", costs());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_never_reads_is_closed() {
    let system = System::new(Database::Sqlite).await;
    let ada = system.user("ada").await;
    let room = ada.create_room("long").await;
    fill(&system, room, &ada).await;
    let pings = [("PING_INTERVAL_SECONDS", "0.5"), ("PING_TIMEOUT_SECONDS", "20")];
    let gateway = MeasuredGateway::start(&system, &pings).await;
    let mut reader = Reader::join(&gateway.base, &ada, "long".to_owned()).await;
    eventually("it to be closed", || async {
        let ended = gateway.metric("chat_gateway_sockets_ended_total").await;
        (ended > 0.0).then_some(())
    })
    .await;
    assert!(matches!(reader.socket.closed().await, Closed::Broken));
    let text = gateway.http.get(&gateway.metrics).send().await.unwrap().text().await.unwrap();
    assert!(text.contains("reason=\"left unread for too long\"} 1"), "{text}");
}
