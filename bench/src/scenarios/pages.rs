//! CPU and latency of HTTP requests that load a page.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{
    backend::{Backend, DATABASE, log_in, login_request},
    http::{self, Connection, LoadResult},
    latency::Quantiles,
    password::{self, Cost},
    statement_log,
};

/// A request, with its title in tables.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    pub title: &'static str,
    pub path: &'static str,
}

const fn page(title: &'static str, path: &'static str) -> Page {
    Page { title, path }
}

/// Pages that are compared with a server that only runs their statements. `room-1` is the biggest room.
pub const PAGES: [Page; 4] = [
    page("my rooms", "/room?mine=true"),
    page("all rooms", "/room"),
    page("enter", "/room/room-30"),
    page("history", "/room/room-30/message"),
];

/// Pages that are compared between a big and a small database.
pub const FILLED_PAGES: [Page; 11] = [
    page("my rooms", "/room?mine=true"),
    page("all rooms", "/room"),
    page("rooms by a part of their title", "/room?query=bout&limit=10"),
    // Matches a tenth of all rooms, but none of the first fifth by name.
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

/// Result of repeated requests.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct RequestCost {
    pub requests: u64,
    /// CPU time of the HTTP server.
    pub cpu_seconds: f64,
    /// CPU time of PostgreSQL.
    pub postgres_cpu_seconds: f64,
    pub latency: Quantiles,
}

impl RequestCost {
    /// CPU time of the HTTP server per request, in microseconds.
    pub fn cpu_each(&self) -> f64 {
        self.cpu_seconds / self.requests as f64 * 1e6
    }

    /// CPU time of HTTP server and PostgreSQL per request, in microseconds.
    pub fn cpu_each_of_all(&self) -> f64 {
        (self.cpu_seconds + self.postgres_cpu_seconds) / self.requests as f64 * 1e6
    }
}

/// Parallel connections: enough to keep the server's core busy, and fewer than the database pool has.
const CONNECTIONS: usize = 8;
const WARM_UP: f64 = 1.0;

/// Sends each connection's requests in turn, after a warm-up.
fn measure(
    backend: &Backend,
    address: SocketAddr,
    connections: &[Vec<Vec<u8>>],
    seconds: f64,
) -> anyhow::Result<RequestCost> {
    http::load(address, connections, WARM_UP)?;
    let before = (backend.cpu_seconds()?, backend.postgres.cpu_seconds()?);
    let LoadResult { count, latency } = http::load(address, connections, seconds)?;
    Ok(RequestCost {
        requests: count,
        cpu_seconds: backend.cpu_seconds()? - before.0,
        postgres_cpu_seconds: backend.postgres.cpu_seconds()? - before.1,
        latency,
    })
}

/// Measures a page with `functions` and with a server that only runs the same statements, and returns the number of
/// these statements.
pub fn compare_with_bare(
    backend: &mut Backend,
    page: Page,
    seconds: f64,
) -> anyhow::Result<(RequestCost, RequestCost, usize)> {
    let functions = backend.functions()?;
    let request = http::get(functions, page.path, &log_in(functions, "user1")?);
    let mut connection = Connection::open(functions)?;
    // The first request may run additional statements.
    connection.json(&request)?;
    let statements = statement_log::record_statements(&backend.postgres, || {
        connection.json(&request).map(drop)
    })?;
    let ours = measure(backend, functions, &vec![vec![request]; CONNECTIONS], seconds)?;
    let bare = backend.bare_server(&statements)?;
    let request = http::get(bare, "/", "none");
    let bare = measure(backend, bare, &vec![vec![request]; CONNECTIONS], seconds)?;
    Ok((ours, bare, statements.len()))
}

/// Measures a page with `functions`, one request at a time.
pub fn measure_page(
    backend: &Backend,
    functions: SocketAddr,
    token: &str,
    page: Page,
    seconds: f64,
) -> anyhow::Result<RequestCost> {
    measure(backend, functions, &[vec![http::get(functions, page.path, token)]], seconds)
}

/// Measures logins of different accounts, one at a time, with normal and with minimal password hashing.
pub fn measure_logins(
    backend: &mut Backend,
    accounts: usize,
    seconds: f64,
) -> anyhow::Result<[RequestCost; 2]> {
    let functions = backend.functions()?;
    let requests: Vec<_> =
        (1..=accounts).map(|n| login_request(functions, &format!("user{n}"))).collect();
    let normal = measure(backend, functions, std::slice::from_ref(&requests), seconds)?;
    let minimal = password::hash(Cost::MINIMUM)?;
    let statement = format!("UPDATE account SET password_hash = '{minimal}'");
    backend.postgres.execute(DATABASE, &statement)?;
    Ok([normal, measure(backend, functions, &[requests], seconds)?])
}
