//! Pages that people look at, asked for over and over.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::Quantiles;
use crate::{
    backend::{Backend, DATABASE, log_in, login},
    http::{self, Answered, Connection},
    learned,
    password::{self, Cost},
};

/// What is asked for: a title and a path.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    pub title: &'static str,
    pub path: &'static str,
}

const fn page(title: &'static str, path: &'static str) -> Page {
    Page { title, path }
}

/// Held against a bare handler. `room-1` is the biggest room.
pub const PAGES: [Page; 4] = [
    page("my rooms", "/room?mine=true"),
    page("all rooms", "/room"),
    page("enter", "/room/room-30"),
    page("history", "/room/room-30/message"),
];

/// Held against the same in a database with next to nothing in it.
pub const FILLED_PAGES: [Page; 11] = [
    page("my rooms", "/room?mine=true"),
    page("all rooms", "/room"),
    page("rooms by a part of their title", "/room?query=bout&limit=10"),
    // In a tenth of all rooms, and in none of the first fifth of them by name.
    page("rooms by a part that comes late", "/room?query=oom-3&limit=10"),
    page("enter the biggest room", "/room/room-1"),
    page("enter a room", "/room/room-30"),
    page("history of the biggest room", "/room/room-1/message"),
    page("history of a room", "/room/room-30/message"),
    page("members of the biggest room", "/room/room-1/member"),
    page(
        "messages with a word of two characters",
        "/room/room-1/message/search?q=%EC%95%88%EB%85%95",
    ),
    page("messages with two that are nowhere", "/room/room-1/message/search?q=zq"),
];

/// What asking for a page came to.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Asked {
    pub requests: u64,
    /// Of the server that answers.
    pub cpu_seconds: f64,
    /// Of PostgreSQL.
    pub postgres_cpu_seconds: f64,
    pub latency: Quantiles,
}

impl Asked {
    /// Microseconds of the server's CPU.
    pub fn cpu_each(&self) -> f64 {
        self.cpu_seconds / self.requests as f64 * 1e6
    }

    /// Microseconds of the server's and PostgreSQL's CPU.
    pub fn cpu_each_of_all(&self) -> f64 {
        (self.cpu_seconds + self.postgres_cpu_seconds) / self.requests as f64 * 1e6
    }
}

/// Side by side: as many as keep the server's core busy, few enough for the pool.
const CONNECTIONS: usize = 8;
const WARM_UP: f64 = 1.0;

/// Has each connection ask its requests in turn.
fn ask(
    backend: &Backend,
    address: SocketAddr,
    connections: &[Vec<Vec<u8>>],
    seconds: f64,
) -> anyhow::Result<Asked> {
    http::load(address, connections, WARM_UP)?;
    let before = (backend.cpu_seconds()?, backend.postgres.cpu_seconds()?);
    let Answered { count, latency } = http::load(address, connections, seconds)?;
    Ok(Asked {
        requests: count,
        cpu_seconds: backend.cpu_seconds()? - before.0,
        postgres_cpu_seconds: backend.postgres.cpu_seconds()? - before.1,
        latency,
    })
}

/// A page by `functions`, and by a handler that runs the same statements and nothing else; and how
/// many statements that are.
pub fn beside_bare(
    backend: &mut Backend,
    page: Page,
    seconds: f64,
) -> anyhow::Result<(Asked, Asked, usize)> {
    let functions = backend.functions()?;
    let request = http::get(functions, page.path, &log_in(functions, "user1")?);
    let mut connection = Connection::open(functions)?;
    // The first request of all may do more than those after it.
    connection.json(&request)?;
    let statements =
        learned::statements_of(&backend.postgres, || connection.json(&request).map(drop))?;
    let ours = ask(backend, functions, &vec![vec![request]; CONNECTIONS], seconds)?;
    let bare = backend.peer(&statements)?;
    let request = http::get(bare, "/", "none");
    let bare = ask(backend, bare, &vec![vec![request]; CONNECTIONS], seconds)?;
    Ok((ours, bare, statements.len()))
}

/// A page by `functions`, one request at a time.
pub fn alone(
    backend: &Backend,
    functions: SocketAddr,
    token: &str,
    page: Page,
    seconds: f64,
) -> anyhow::Result<Asked> {
    ask(backend, functions, &[vec![http::get(functions, page.path, token)]], seconds)
}

/// Logins of different accounts, one at a time; then the same where the password costs nothing.
pub fn logins(backend: &mut Backend, accounts: usize, seconds: f64) -> anyhow::Result<[Asked; 2]> {
    let functions = backend.functions()?;
    let requests: Vec<_> = (1..=accounts).map(|n| login(functions, &format!("user{n}"))).collect();
    let asked = ask(backend, functions, std::slice::from_ref(&requests), seconds)?;
    let least = password::hash(Cost::LEAST)?;
    let statement = format!("UPDATE account SET password_hash = '{least}'");
    backend.postgres.execute(DATABASE, &statement)?;
    Ok([asked, ask(backend, functions, &[requests], seconds)?])
}
