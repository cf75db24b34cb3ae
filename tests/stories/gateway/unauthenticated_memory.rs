//! What an unauthenticated client can make a gateway keep in memory, in every state of a connection.
//! The gateway is a process of its own, so that its memory is nobody else's.

use std::{
    cell::{Cell, RefCell},
    process::Stdio,
    time::Duration,
};

use futures_util::{StreamExt as _, future::join_all, stream};
use stories::{
    Database, Polling, World, eventually, signal,
    wire::{CLOSE, FIRST_OF_TEXT, Raw, TEXT, frame},
};
use tokio::{net::TcpListener, process::Child};

/// What the gateway may grow by, whatever is sent: buffers of some hundred sockets, and what the
/// allocator keeps of them.
const GROWTH: u64 = 32 * 1024 * 1024;
const MIB: usize = 1024 * 1024;
/// How long one flood lasts at most.
const FLOOD: Duration = Duration::from_secs(3);
const PING: u8 = 0x89;
const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";
const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

struct Victim {
    _world: World,
    child: Child,
    base: String,
    /// Its memory before any attack. What an attack made the allocator keep must not hide another.
    before: Cell<u64>,
    /// What made it grow too much.
    faults: RefCell<Vec<String>>,
}

impl Victim {
    async fn new(variables: &[(&str, &str)]) -> Self {
        let mut world = World::new(Database::Sqlite).await;
        variables.iter().for_each(|(name, value)| world.set(name, value));
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let quiet = |command: &mut tokio::process::Command| {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        };
        let child = world.gateway_process(&address, quiet).await;
        let base = format!("http://{address}");
        let (before, faults) = (Cell::new(0), RefCell::default());
        let victim = Self { _world: world, child, base, before, faults };
        victim.before.set(victim.memory("VmRSS"));
        victim
    }

    fn proc(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.child.id().unwrap())
    }

    /// Bytes of resident memory: now, or the most since the last reset.
    fn memory(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(self.proc("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap().trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// The gateway must not grow by more than [`GROWTH`] while this happens.
    async fn withstands(&self, what: &str, attack: impl Future<Output = ()>) {
        // Resets the peak; see proc(5).
        std::fs::write(self.proc("clear_refs"), "5").unwrap();
        attack.await;
        let grown = self.memory("VmHWM").saturating_sub(self.before.get());
        println!("{what}: {} KiB", grown / 1024);
        if grown > GROWTH {
            self.faults.borrow_mut().push(format!("{what}: {} MiB", grown >> 20));
        }
    }

    /// Several sockets do the same at once.
    async fn at_once<F: Future<Output = ()>>(&self, count: usize, attack: impl Fn(Raw) -> F) {
        let sessions = join_all((0..count).map(|_| Raw::session(&self.base))).await;
        join_all(sessions.into_iter().map(attack)).await;
    }

    async fn sessions(&self, count: usize) -> Vec<Polling> {
        // More connections at once than the listener's queue takes would be refused.
        let sessions = (0..count).map(|_| Polling::open(&self.base, "/socket.io/"));
        let sessions = stream::iter(sessions).buffer_unordered(50).collect().await;
        // What sessions cost that do nothing is not the question here.
        self.before.set(self.memory("VmRSS").max(self.before.get()));
        sessions
    }

    /// Begins a POST to a session and writes what is to be its body; the connection, still open.
    async fn begin_post(&self, sid: &str, headers: &str, body: &[u8]) -> Raw {
        let mut raw = Raw::connect(&self.base).await;
        let head = format!("POST {POLLING}&sid={sid} HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n");
        raw.write(head.as_bytes()).await;
        raw.flood(body, body.len(), FLOOD).await;
        raw
    }

    /// It took no more than it may, and still serves.
    async fn is_well(&self) {
        assert_eq!(*self.faults.borrow(), [""; 0], "the gateway grew too much");
        eventually("a session", || async {
            let opened = reqwest::get(format!("{}{POLLING}", self.base)).await;
            opened.is_ok_and(|answer| answer.status() == 200).then_some(())
        })
        .await;
    }
}

/// A frame that breaks the protocol: it is not masked.
fn violation() -> Vec<u8> {
    vec![TEXT, 1, b'3']
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_after_a_close_is_thrown_away() {
    let victim = Victim::new(&[("LIMIT_HANDSHAKE_SECONDS", "2")]).await;
    let zeros = vec![0; MIB];
    let closes = [
        ("after a violation", violation()),
        ("after a close frame", frame(CLOSE, &1000_u16.to_be_bytes())),
        ("after a close packet", frame(TEXT, b"1")),
        ("after a message that is too long", [&[TEXT, 0xFF][..], &[0xFF; 8]].concat()),
    ];
    for (what, close) in closes {
        let attack = victim.at_once(8, async |mut raw| {
            raw.write(&close).await;
            raw.flood(&zeros, 24 * MIB, FLOOD).await;
        });
        victim.withstands(what, attack).await;
    }
    let late = victim.at_once(8, async |mut raw| {
        raw.until(b"not authenticated in time").await;
        raw.flood(&zeros, 24 * MIB, FLOOD).await;
    });
    victim.withstands("after the handshake's deadline", late).await;
    victim.is_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_while_a_gateway_drains_is_thrown_away() {
    let victim = Victim::new(&[("DRAIN_SECONDS", "1")]).await;
    let zeros = vec![0; MIB];
    let attack = victim.at_once(8, async |mut raw| {
        signal(victim.child.id().unwrap(), "-TERM");
        raw.until(b"the gateway stops").await;
        raw.flood(&zeros, 24 * MIB, FLOOD).await;
    });
    victim.withstands("while it drains", attack).await;
    assert_eq!(*victim.faults.borrow(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_not_authenticated_is_kept_little_of() {
    let victim = Victim::new(&[]).await;
    let headers = async {
        join_all((0..50).map(async |_| {
            let mut raw = Raw::connect(&victim.base).await;
            raw.write(format!("GET {WEBSOCKET} HTTP/1.1\r\nX: ").as_bytes()).await;
            raw.flood(&[b'x'; 4_096], MIB, FLOOD).await;
        }))
        .await;
    };
    victim.withstands("headers without end", headers).await;
    // As long as the handshake allows an authenticated socket's to be, and not complete.
    let mut begun = frame(TEXT, &[b'4'; 65_000]);
    begun.truncate(60_000);
    let messages = victim.at_once(900, async |mut raw| {
        raw.write(&begun).await;
        // It is closed at once, or keeps what came until the deadline.
        let _ = tokio::time::timeout(FLOOD, raw.rest()).await;
    });
    victim.withstands("messages that do not end", messages).await;
    let fragments = [frame(FIRST_OF_TEXT, &[b'4'; 30_000]), begun.clone()].concat();
    let messages = victim.at_once(900, async |mut raw| {
        raw.write(&fragments).await;
        let _ = tokio::time::timeout(FLOOD, raw.rest()).await;
    });
    victim.withstands("fragments", messages).await;
    let pings = frame(PING, b"").repeat(1_000);
    let attack = victim.at_once(16, async |mut raw| raw.flood(&pings, 12 * MIB, FLOOD).await);
    victim.withstands("pings whose answers are not read", attack).await;
    let pings = frame(TEXT, b"2").repeat(1_000);
    let attack = victim.at_once(16, async |mut raw| raw.flood(&pings, 12 * MIB, FLOOD).await);
    victim.withstands("Engine.IO pings whose answers are not read", attack).await;
    victim.is_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_requests_are_bounded_together() {
    let victim = Victim::new(&[]).await;
    let session = &victim.sessions(1).await[0];
    let attack = async {
        let length = format!("Content-Length: {}", 60_000);
        let body = vec![b'4'; 59_000];
        let begun = join_all((0..800).map(|_| victim.begin_post(&session.sid, &length, &body)));
        let mut begun = begun.await;
        // Most were answered; those that wait keep their bodies until the deadline.
        tokio::time::sleep(Duration::from_secs(1)).await;
        begun.clear();
    };
    victim.withstands("many bodies of one session", attack).await;

    let sessions = victim.sessions(40).await;
    let attack = async {
        let chunks = b"1\r\n4\r\n".repeat(60_000);
        let chunked = "Transfer-Encoding: chunked";
        let begun = sessions.iter().map(|each| victim.begin_post(&each.sid, chunked, &chunks));
        let begun = join_all(begun).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(begun);
    };
    victim.withstands("bodies in small pieces", attack).await;

    let attack = async {
        let length = format!("Content-Length: {}", 24 * MIB);
        let body = vec![b'4'; 24 * MIB];
        let sid = "A".repeat(35);
        join_all((0..8).map(|_| victim.begin_post(&sid, &length, &body))).await;
    };
    victim.withstands("bodies of an unknown session", attack).await;

    for (what, packet, times) in [
        ("pings by request", "2\u{1e}".to_owned(), 32_000),
        ("namespaces that do not exist", format!("40/{},\u{1e}", "x".repeat(3_000)), 20),
    ] {
        let sessions = victim.sessions(150).await;
        let body = packet.repeat(times);
        let body = body.trim_end_matches('\u{1e}');
        let attack = async {
            join_all(sessions.iter().map(async |session| {
                for _ in 0..4 {
                    let posted = tokio::time::timeout(FLOOD, session.post(body.to_owned())).await;
                    if posted.is_err() {
                        return;
                    }
                }
            }))
            .await;
        };
        victim.withstands(what, attack).await;
    }
    victim.is_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_that_is_to_take_over_is_kept_little_of() {
    let victim = Victim::new(&[("LIMIT_HANDSHAKE_SECONDS", "60")]).await;
    let mut begun = frame(TEXT, &[b'4'; 65_000]);
    begun.truncate(60_000);
    let messages = frame(TEXT, &[b'4'; 10_000]).repeat(100);
    for (what, count, bytes, total) in [
        ("a message that does not end", 900, &begun, begun.len()),
        ("messages before the change", 8, &messages, 24 * MIB),
    ] {
        let sessions = victim.sessions(count).await;
        let attack = async {
            join_all(sessions.iter().map(async |session| {
                let path = format!("{WEBSOCKET}&sid={}", session.sid);
                let mut raw = Raw::open(&victim.base, &path, b"101 Switching").await;
                raw.frame(TEXT, b"2probe").await;
                raw.flood(bytes, total, FLOOD).await;
                let _ = tokio::time::timeout(FLOOD, raw.rest()).await;
            }))
            .await;
        };
        victim.withstands(what, attack).await;
    }
    // Several at once for one session: the first one counts, the others are told.
    let session = &victim.sessions(1).await[0];
    let path = format!("{WEBSOCKET}&sid={}", session.sid);
    let attack = async {
        let mut first = Raw::open(&victim.base, &path, b"101 Switching").await;
        first.frame(TEXT, b"2probe").await;
        first.until(b"3probe").await;
        join_all((0..100).map(async |_| {
            // Its close comes with the handshake's answer, or behind it.
            Raw::open(&victim.base, &path, b"no session to take over").await;
        }))
        .await;
    };
    victim.withstands("many that want to take over", attack).await;
    victim.is_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_echo_for_conformance_tests_keeps_little_too() {
    let victim = Victim::new(&[("CONFORMANCE_ECHO", "true")]).await;
    let messages = frame(TEXT, &[b'4'; 60_000]);
    let attack = async {
        join_all((0..16).map(async |_| {
            let path = "/engine.io/?EIO=4&transport=websocket";
            let mut raw = Raw::open(&victim.base, path, b"0{\"sid\"").await;
            raw.flood(&messages, 24 * MIB, FLOOD).await;
        }))
        .await;
    };
    victim.withstands("echoes that are not read", attack).await;
    victim.is_well().await;
}
