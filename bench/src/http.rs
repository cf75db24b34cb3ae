//! A client of HTTP/1.1: connections that stay open, one request at a time on each.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use hdrhistogram::Histogram;
use serde_json::Value;

use crate::scenarios::Quantiles;

/// Longer than the functions let a request take.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// More than any page here has.
const ANSWER_BYTES: usize = 1024 * 1024;

/// One connection.
pub struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

/// What a span of requests came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Answered {
    pub count: u64,
    pub latency: Quantiles,
}

/// A request without a body.
pub fn get(address: SocketAddr, path: &str, token: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n")
        .into_bytes()
}

/// A request with JSON.
pub fn post(address: SocketAddr, path: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

impl Connection {
    pub fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).context("cannot connect")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        Ok(Self { stream, received: Vec::with_capacity(64 * 1024) })
    }

    /// Sends a request, reads the answer: its status and its body.
    pub fn ask(&mut self, request: &[u8]) -> anyhow::Result<(u16, &[u8])> {
        self.stream.write_all(request)?;
        self.received.clear();
        loop {
            let before = self.received.len();
            self.received.resize(before + 64 * 1024, 0);
            let count = self.stream.read(&mut self.received[before..]);
            let count = count.context("no answer in time")?;
            self.received.truncate(before + count);
            ensure!(count > 0, "the server closed the connection");
            if let Some((status, body, end)) = split(&self.received)?
                && self.received.len() >= end
            {
                return Ok((status, &self.received[body..end]));
            }
            ensure!(self.received.len() < ANSWER_BYTES, "an answer without an end");
        }
    }

    /// The body of a success, read as JSON.
    pub fn json(&mut self, request: &[u8]) -> anyhow::Result<Value> {
        let (status, body) = self.ask(request)?;
        if !(200..300).contains(&status) {
            bail!("status {status}: {}", String::from_utf8_lossy(body));
        }
        Ok(serde_json::from_slice(body)?)
    }
}

/// Status, and where the body begins and ends, once the head is there.
fn split(answer: &[u8]) -> anyhow::Result<Option<(u16, usize, usize)>> {
    let Some(head) = memchr::memmem::find(answer, b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&answer[..head])?;
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    let (status, length): (u16, usize) =
        status.zip(length).with_context(|| format!("an answer without a length: {text}"))?;
    Ok(Some((status, head + 4, head + 4 + length)))
}

/// Has each connection send its requests in turn, again and again, for `seconds`. All must succeed.
pub fn load(
    address: SocketAddr,
    connections: &[Vec<Vec<u8>>],
    seconds: f64,
) -> anyhow::Result<Answered> {
    let is_over = AtomicBool::new(false);
    let one = |requests: &[Vec<u8>]| {
        let mut connection = Connection::open(address)?;
        let mut latencies = histogram();
        for request in requests.iter().cycle() {
            if is_over.load(Ordering::Relaxed) {
                break;
            }
            let began = Instant::now();
            let (status, body) = connection.ask(request)?;
            if !(200..300).contains(&status) {
                bail!("status {status}: {}", String::from_utf8_lossy(body));
            }
            latencies.saturating_record(began.elapsed().as_nanos() as u64);
        }
        Ok(latencies)
    };
    let latencies = thread::scope(|scope| {
        let threads: Vec<_> =
            connections.iter().map(|requests| scope.spawn(|| one(requests))).collect();
        thread::sleep(Duration::from_secs_f64(seconds));
        is_over.store(true, Ordering::Relaxed);
        let mut all = histogram();
        for thread in threads {
            let one = thread.join().map_err(|_| anyhow::anyhow!("a connection panicked"))??;
            all.add(one)?;
        }
        anyhow::Ok(all)
    })?;
    Ok(Answered { count: latencies.len(), latency: Quantiles::of(&latencies) })
}

fn histogram() -> Histogram<u64> {
    // Three digits up to a minute; both are within what the histogram allows.
    Histogram::new_with_max(60_000_000_000, 3).unwrap_or_else(|_| unreachable!())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_its_length_says() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx: y\r\n\r\n{}";
        assert_eq!(split(answer).unwrap(), Some((200, answer.len() - 2, answer.len())));
        assert_eq!(split(&answer[..20]).unwrap(), None);
        assert!(split(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
