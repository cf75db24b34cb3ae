//! An HTTP/1.1 client with keep-alive and one request at a time per connection. It does little work, because client and
//! server share the machine.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use crate::latency::{Quantiles, histogram};

/// Longer than the request timeout of the functions.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(20);
/// Larger than every response here.
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;
const READ_BYTES: usize = 64 * 1024;

pub struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

/// Result of [`load`].
#[derive(Debug, Clone, Copy, Default)]
pub struct LoadResult {
    pub count: u64,
    pub latency: Quantiles,
}

/// A GET request.
pub fn get(address: SocketAddr, path: &str, token: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n")
        .into_bytes()
}

/// A POST request with a JSON body.
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
        stream.set_read_timeout(Some(RESPONSE_TIMEOUT))?;
        Ok(Self { stream, received: Vec::with_capacity(READ_BYTES) })
    }

    /// Sends a request and returns status and body of the response.
    pub fn send(&mut self, request: &[u8]) -> anyhow::Result<(u16, &[u8])> {
        self.stream.write_all(request)?;
        self.received.clear();
        loop {
            let before = self.received.len();
            self.received.resize(before + READ_BYTES, 0);
            let count = self.stream.read(&mut self.received[before..]);
            let count = count.context("no response before the timeout")?;
            self.received.truncate(before + count);
            ensure!(count > 0, "the server closed the connection");
            if let Some((status, body, end)) = parse_head(&self.received)?
                && self.received.len() >= end
            {
                return Ok((status, &self.received[body..end]));
            }
            ensure!(self.received.len() < MAX_RESPONSE_BYTES, "the response is too long");
        }
    }

    /// Like [`Self::send`], and fails unless the status is 2xx.
    fn send_successfully(&mut self, request: &[u8]) -> anyhow::Result<&[u8]> {
        let (status, body) = self.send(request)?;
        if !(200..300).contains(&status) {
            bail!("status {status}: {}", String::from_utf8_lossy(body));
        }
        Ok(body)
    }

    /// Sends a request and parses the body of the successful response.
    pub fn json(&mut self, request: &[u8]) -> anyhow::Result<Value> {
        Ok(serde_json::from_slice(self.send_successfully(request)?)?)
    }
}

/// The status, and the range of the body, once the head has been received.
fn parse_head(response: &[u8]) -> anyhow::Result<Option<(u16, usize, usize)>> {
    let Some(head) = memchr::memmem::find(response, b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&response[..head])?;
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    let (status, length): (u16, usize) =
        status.zip(length).with_context(|| format!("no Content-Length in the response: {text}"))?;
    Ok(Some((status, head + 4, head + 4 + length)))
}

/// Sends each connection's requests repeatedly, all connections in parallel, for `seconds`. Every request must succeed.
pub fn load(
    address: SocketAddr,
    connections: &[Vec<Vec<u8>>],
    seconds: f64,
) -> anyhow::Result<LoadResult> {
    let is_over = AtomicBool::new(false);
    let send_all = |requests: &[Vec<u8>]| {
        let mut connection = Connection::open(address)?;
        let mut latencies = histogram();
        for request in requests.iter().cycle() {
            if is_over.load(Ordering::Relaxed) {
                break;
            }
            let began = Instant::now();
            connection.send_successfully(request)?;
            latencies.saturating_record(began.elapsed().as_nanos() as u64);
        }
        anyhow::Ok(latencies)
    };
    let latencies = thread::scope(|scope| {
        let threads: Vec<_> =
            connections.iter().map(|requests| scope.spawn(|| send_all(requests))).collect();
        thread::sleep(Duration::from_secs_f64(seconds));
        is_over.store(true, Ordering::Relaxed);
        let mut all = histogram();
        for thread in threads {
            let latencies =
                thread.join().map_err(|_| anyhow::anyhow!("a connection's thread panicked"))??;
            all.add(latencies)?;
        }
        anyhow::Ok(all)
    })?;
    Ok(LoadResult { count: latencies.len(), latency: Quantiles::of(&latencies) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_ends_after_its_content_length() {
        let response = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx: y\r\n\r\n{}";
        assert_eq!(parse_head(response).unwrap(), Some((200, response.len() - 2, response.len())));
        assert_eq!(parse_head(&response[..20]).unwrap(), None);
        assert!(parse_head(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
