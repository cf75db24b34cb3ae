//! A gateway process under attack, whose memory is measured.

use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

use futures_util::{StreamExt as _, future::join_all, stream};
use stories::{
    DEADLINE, Database, PollingSession, Server, System, engine_io::RawWebSocket, eventually,
};

/// The allowed growth: buffers of a few hundred sockets, and what the allocator retains of them.
const GROWTH: u64 = 32 * 1024 * 1024;
/// The longest time of one flood.
pub const FLOOD: Duration = Duration::from_secs(3);
const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

pub struct AttackedGateway {
    _system: System,
    pub server: Server,
    pub base: String,
    /// Its memory before any attack. Memory that one attack leaves in the allocator must not hide another attack.
    before: Cell<u64>,
    /// The attacks that made it grow too much.
    pub faults: RefCell<Vec<String>>,
}

impl AttackedGateway {
    pub async fn new(variables: &[(&str, &str)]) -> Self {
        let mut system = System::new(Database::Sqlite).await;
        variables.iter().for_each(|(name, value)| system.set_variable(name, value));
        let server = system.start_server("gateway", |_| {}).await;
        let (before, faults) = (Cell::new(0), RefCell::default());
        let gateway = Self { base: server.base.clone(), _system: system, server, before, faults };
        gateway.before.set(gateway.memory("VmRSS"));
        gateway
    }

    fn proc(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.server.id())
    }

    /// Resident memory in bytes: now (`VmRSS`) or at its peak since the last reset (`VmHWM`).
    fn memory(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(self.proc("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap().trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Waits until the peak of its memory no longer rises: it has read everything that was sent.
    pub async fn until_memory_is_stable(&self) {
        let stable = async {
            let mut peak = self.memory("VmHWM");
            loop {
                tokio::time::sleep(Duration::from_millis(250)).await;
                let now = self.memory("VmHWM");
                if now == peak {
                    return;
                }
                peak = now;
            }
        };
        tokio::time::timeout(DEADLINE, stable).await.unwrap();
    }

    /// Runs an attack; the gateway must not grow by more than [`GROWTH`].
    pub async fn withstands(&self, what: &str, attack: impl Future<Output = ()>) {
        // Resets the peak; see proc(5).
        std::fs::write(self.proc("clear_refs"), "5").unwrap();
        attack.await;
        let grown = self.memory("VmHWM").saturating_sub(self.before.get());
        println!("{what}: {} KiB", grown / 1024);
        if grown > GROWTH {
            self.faults.borrow_mut().push(format!("{what}: {} MiB", grown >> 20));
        }
    }

    /// Runs the same attack on several sockets at once.
    pub async fn at_once<F: Future<Output = ()>>(
        &self,
        count: usize,
        attack: impl Fn(RawWebSocket) -> F,
    ) {
        let sessions = join_all((0..count).map(|_| RawWebSocket::session(&self.base))).await;
        join_all(sessions.into_iter().map(attack)).await;
    }

    pub async fn sessions(&self, count: usize) -> Vec<PollingSession> {
        // More connections at once than the listener's queue holds would be refused.
        let sessions = (0..count).map(|_| PollingSession::open(&self.base, "/socket.io/"));
        let sessions = stream::iter(sessions).buffer_unordered(50).collect().await;
        // The memory of idle sessions is not measured here.
        self.before.set(self.memory("VmRSS").max(self.before.get()));
        sessions
    }

    /// Begins a POST to a session and writes its body; returns the open connection.
    pub async fn begin_post(&self, sid: &str, headers: &str, body: &[u8]) -> RawWebSocket {
        let mut raw = RawWebSocket::connect(&self.base).await;
        let head = format!("POST {POLLING}&sid={sid} HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n");
        raw.write(head.as_bytes()).await;
        raw.flood(body, body.len(), FLOOD).await;
        raw
    }

    /// Asserts that it did not grow too much and still works.
    pub async fn assert_healthy(&self) {
        assert_eq!(*self.faults.borrow(), [""; 0], "the gateway grew too much");
        eventually("a session", || async {
            let opened = reqwest::get(format!("{}{POLLING}", self.base)).await;
            opened.is_ok_and(|answer| answer.status() == 200).then_some(())
        })
        .await;
    }
}
