//! The transports of Engine.IO without Socket.IO: packets are sent and received unchanged.

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

use crate::wait::DEADLINE;

/// An Engine.IO connection over WebSocket.
pub struct WebSocket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl WebSocket {
    /// Opens a connection to a path with its query.
    pub async fn open(base: &str, path: &str) -> Self {
        Self::try_open(base, path).await.unwrap()
    }

    /// The same; returns the HTTP status if it is refused.
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

    /// Sends a text and ignores errors: the server may have closed.
    pub async fn send(&mut self, text: &str) {
        let _ = self.0.send(Message::text(text)).await;
    }

    /// Sends binary.
    pub async fn send_binary(&mut self, bytes: &[u8]) {
        let _ = self.0.send(Message::binary(bytes.to_vec())).await;
    }

    /// The next message; none if it is closed.
    pub async fn next(&mut self) -> Option<Message> {
        let next = tokio::time::timeout(DEADLINE, self.0.next()).await.expect("something arrives");
        next.and_then(Result::ok).filter(|message| !message.is_close())
    }

    /// The next text.
    pub async fn text(&mut self) -> String {
        self.next().await.expect("it is open").into_text().unwrap().to_string()
    }

    /// The next message that is not a ping.
    pub async fn next_but_ping(&mut self) -> Message {
        loop {
            let message = self.next().await.expect("it is open");
            if message != Message::text("2") {
                return message;
            }
        }
    }

    /// Waits until it is closed.
    pub async fn closed(&mut self) {
        while self.next().await.is_some() {}
    }

    /// Waits until it is closed; returns the code of the close frame, if there is one.
    pub async fn close_code(&mut self) -> Option<u16> {
        loop {
            let next = tokio::time::timeout(DEADLINE, self.0.next()).await.expect("it is closed");
            if let Message::Close(frame) = next?.ok()? {
                return frame.map(|frame| frame.code.into());
            }
        }
    }
}

/// An Engine.IO session over HTTP long polling.
#[derive(Clone)]
pub struct PollingSession {
    http: reqwest::Client,
    url: String,
    pub sid: String,
    pub handshake: Value,
}

impl PollingSession {
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

    /// Polls once: status and body.
    pub async fn get(&self) -> (u16, String) {
        let answer = tokio::time::timeout(DEADLINE, self.http.get(&self.url).send());
        let answer = answer.await.expect("a poll is answered").unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Sends packets: status and body of the response.
    pub async fn post(&self, body: impl Into<reqwest::Body>) -> (u16, String) {
        let answer = self.http.post(&self.url).body(body).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Polls until a packet has this beginning. Other packets are dropped, pings are answered.
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

/// A WebSocket on a plain TCP connection, which can break every rule of the protocol.
pub struct RawWebSocket(TcpStream);

/// First byte of a frame with a whole text message.
pub const TEXT: u8 = 0x81;
/// First byte of the first fragment of a text message.
pub const FIRST_OF_TEXT: u8 = 0x01;
/// First byte of a middle fragment.
pub const CONTINUATION: u8 = 0x00;
/// First byte of the last fragment.
pub const LAST: u8 = 0x80;
/// First byte of a close frame.
pub const CLOSE: u8 = 0x88;
/// First byte of a ping.
pub const PING: u8 = 0x89;
/// First byte of a frame with a whole binary message.
pub const BINARY: u8 = 0x82;

impl RawWebSocket {
    /// Connects and sends nothing.
    pub async fn connect(base: &str) -> Self {
        Self(TcpStream::connect(base.strip_prefix("http://").unwrap()).await.unwrap())
    }

    /// Opens a WebSocket at a path with its query and reads until `wanted`.
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

    /// Opens a session without authentication.
    pub async fn session(base: &str) -> Self {
        Self::open(base, "/socket.io/?EIO=4&transport=websocket", b"0{\"sid\"").await
    }

    /// Opens a session and authenticates.
    pub async fn authenticated(base: &str, token: &str) -> Self {
        let mut raw = Self::session(base).await;
        raw.frame(TEXT, format!("40{{\"token\":\"{token}\"}}").as_bytes()).await;
        raw.until(b"40{\"sid\"").await;
        raw
    }

    /// Sends bytes and ignores errors: the server may have closed.
    pub async fn write(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes).await;
    }

    /// Writes these bytes repeatedly, as fast as the server reads: until `total` bytes are sent, the server
    /// closes, or the time `within` is over.
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

    /// Reads until these bytes arrive; returns everything read.
    pub async fn until(&mut self, wanted: &[u8]) -> Vec<u8> {
        let mut read = Vec::new();
        while !read.windows(wanted.len()).any(|bytes| bytes == wanted) {
            let more = tokio::time::timeout(DEADLINE, self.0.read_buf(&mut read)).await;
            let more = more.unwrap_or_else(|_| panic!("waited for {wanted:?}, got {read:?}"));
            assert!(more.unwrap_or(0) > 0, "closed after {read:?}");
        }
        read
    }

    /// Reads until it is closed; returns everything read.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut read = Vec::new();
        // An error is a connection reset, which is an end too.
        let _ =
            tokio::time::timeout(DEADLINE, self.0.read_to_end(&mut read)).await.expect("it closes");
        read
    }

    /// Reads until it is closed; returns the code of the close frame, which is the last frame.
    pub async fn closed(&mut self) -> Option<u16> {
        let read = self.rest().await;
        let close = read.iter().rposition(|byte| *byte == CLOSE)?;
        Some(u16::from_be_bytes([*read.get(close + 2)?, *read.get(close + 3)?]))
    }
}

/// A client's frame. Its mask is zero, which is allowed and keeps the payload readable.
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
