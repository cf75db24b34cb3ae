//! The transports of Engine.IO with nothing above them: what is sent goes out as it is, what comes is
//! handed over as it came.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::StatusCode;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message},
};

use crate::SOON;

/// A WebSocket.
pub struct Wire(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Wire {
    /// Opens one to `path`, with its query.
    pub async fn open(base: &str, path: &str) -> Self {
        Self::try_open(base, path).await.unwrap()
    }

    /// The status if it is refused.
    pub async fn try_open(base: &str, path: &str) -> Result<Self, StatusCode> {
        match connect_async(format!("{}{path}", base.replacen("http", "ws", 1))).await {
            Ok((stream, _)) => Ok(Self(stream)),
            Err(Error::Http(response)) => Err(response.status()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Opens a session and reads its handshake.
    pub async fn session(base: &str, path: &str) -> (Self, Value) {
        let mut wire = Self::open(base, &format!("{path}?EIO=4&transport=websocket")).await;
        let open = wire.text().await;
        (wire, serde_json::from_str(open.strip_prefix('0').unwrap()).unwrap())
    }

    /// Sends a text, not minding whether the other side still listens.
    pub async fn send(&mut self, text: &str) {
        let _ = self.0.send(Message::text(text)).await;
    }

    /// Sends binary.
    pub async fn send_binary(&mut self, bytes: &[u8]) {
        let _ = self.0.send(Message::binary(bytes.to_vec())).await;
    }

    /// What comes next; none once it is closed.
    pub async fn next(&mut self) -> Option<Message> {
        let next = tokio::time::timeout(SOON, self.0.next()).await.expect("something arrives");
        next.and_then(Result::ok).filter(|message| !message.is_close())
    }

    /// The next text.
    pub async fn text(&mut self) -> String {
        self.next().await.expect("it is open").into_text().unwrap().to_string()
    }

    /// The next that is no ping.
    pub async fn next_but_ping(&mut self) -> Message {
        loop {
            let message = self.next().await.expect("it is open");
            if message != Message::text("2") {
                return message;
            }
        }
    }

    /// Until it is closed.
    pub async fn closed(&mut self) {
        while self.next().await.is_some() {}
    }
}

/// A session over HTTP long-polling.
#[derive(Clone)]
pub struct Polling {
    http: reqwest::Client,
    url: String,
    pub sid: String,
    pub handshake: Value,
}

impl Polling {
    /// Opens a session.
    pub async fn open(base: &str, path: &str) -> Self {
        let http = reqwest::Client::new();
        let url = format!("{base}{path}?EIO=4&transport=polling");
        let answer = http.get(&url).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/plain; charset=utf-8");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let open = answer.text().await.unwrap();
        let handshake: Value = serde_json::from_str(open.strip_prefix('0').unwrap()).unwrap();
        let sid = handshake["sid"].as_str().unwrap().to_owned();
        Self { http, url: format!("{url}&sid={sid}"), sid, handshake }
    }

    /// Polls.
    pub async fn get(&self) -> (u16, String) {
        let answer = tokio::time::timeout(SOON, self.http.get(&self.url).send());
        let answer = answer.await.expect("a poll is answered").unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Sends packets.
    pub async fn post(&self, body: impl Into<reqwest::Body>) -> (u16, String) {
        let answer = self.http.post(&self.url).body(body).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Polls until a packet begins so; others are dropped, pings answered.
    pub async fn until(&self, start: &str) -> String {
        loop {
            let (status, body) = self.get().await;
            assert_eq!(status, 200, "{body}");
            let mut packets = body.split('\u{1e}');
            if let Some(packet) = packets.find(|packet| packet.starts_with(start)) {
                return packet.to_owned();
            }
            if body == "2" {
                self.post("3").await;
            }
        }
    }
}

/// A TCP connection that speaks WebSocket by hand: it can break every rule.
pub struct Raw(TcpStream);

/// First bytes of frames: text, whole or not; a continuation; a close.
pub const TEXT: u8 = 0x81;
pub const FIRST_OF_TEXT: u8 = 0x01;
pub const CONTINUATION: u8 = 0x00;
pub const LAST: u8 = 0x80;
pub const CLOSE: u8 = 0x88;

impl Raw {
    /// Connects and says nothing.
    pub async fn connect(base: &str) -> Self {
        Self(TcpStream::connect(base.strip_prefix("http://").unwrap()).await.unwrap())
    }

    /// Opens a WebSocket at `path`, with its query, and reads until `wanted`.
    pub async fn open(base: &str, path: &str, wanted: &[u8]) -> Self {
        let mut raw = Self::connect(base).await;
        let host = base.strip_prefix("http://").unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        );
        raw.write(request.as_bytes()).await;
        raw.until(wanted).await;
        raw
    }

    /// Opens a session over WebSocket, not authenticated yet.
    pub async fn session(base: &str) -> Self {
        Self::open(base, "/socket.io/?EIO=4&transport=websocket", b"0{\"sid\"").await
    }

    /// Connects and is let in as a user.
    pub async fn chatting(base: &str, token: &str) -> Self {
        let mut raw = Self::session(base).await;
        raw.frame(TEXT, format!("40{{\"token\":\"{token}\"}}").as_bytes()).await;
        raw.until(b"40{\"sid\"").await;
        raw
    }

    /// Sends bytes, not minding whether the other side still listens.
    pub async fn write(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes).await;
    }

    /// Writes these bytes again and again, as fast as they are taken: up to `total` of them, until the
    /// other side closes or `within` is over.
    pub async fn flood(&mut self, bytes: &[u8], total: usize, within: Duration) {
        let writing = async {
            for _ in 0..total.div_ceil(bytes.len()) {
                if self.0.write_all(bytes).await.is_err() {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(within, writing).await;
    }

    /// Sends a masked frame.
    pub async fn frame(&mut self, first: u8, payload: &[u8]) {
        self.write(&frame(first, payload)).await;
    }

    /// Reads until these bytes came; what came with them.
    pub async fn until(&mut self, wanted: &[u8]) -> Vec<u8> {
        let mut read = Vec::new();
        while !read.windows(wanted.len()).any(|bytes| bytes == wanted) {
            let more = tokio::time::timeout(SOON, self.0.read_buf(&mut read)).await;
            let more = more.unwrap_or_else(|_| panic!("waited for {wanted:?}, got {read:?}"));
            assert!(more.unwrap_or(0) > 0, "closed after {read:?}");
        }
        read
    }

    /// Until it is closed; what came before.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut read = Vec::new();
        // Reset is closed too.
        let _ = tokio::time::timeout(SOON, self.0.read_to_end(&mut read)).await.expect("it closes");
        read
    }

    /// Until it is closed; the code of its close frame, which is the last.
    pub async fn closed(&mut self) -> Option<u16> {
        let read = self.rest().await;
        let close = read.iter().rposition(|byte| *byte == CLOSE)?;
        Some(u16::from_be_bytes([*read.get(close + 2)?, *read.get(close + 3)?]))
    }
}

/// A client's frame, its mask zero: that is allowed and easy to read.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}
