//! A Socket.IO client that can also send what the official clients never send.

use std::collections::VecDeque;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, client_async, connect_async,
    tungstenite::{Message, client::IntoClientRequest as _, protocol::CloseFrame},
};

use crate::wait::DEADLINE;

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Closed {
    /// With a close frame of this code.
    Code(u16),
    /// Without a close frame.
    Broken,
}

/// A Socket.IO connection over WebSocket.
pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    acks: u64,
    /// Events that arrived and were not taken yet.
    events: VecDeque<(String, Value)>,
    acknowledged: Vec<(u64, Value)>,
    closed: Option<Closed>,
    /// The Engine.IO handshake.
    pub handshake: Value,
}

/// What a received message was.
enum Arrived {
    Connected,
    Refused(Value),
    Event,
    Ack,
    Other,
    End,
}

impl Socket {
    /// Opens a connection and does not connect to the namespace.
    pub async fn open(base: &str) -> Self {
        let request = url(base).into_client_request().unwrap();
        let (stream, _) = connect_async(request).await.unwrap();
        Self::on(stream).await
    }

    /// Connects with a token and a tiny receive buffer, so that unread data stays in the gateway's memory
    /// and not in the kernel's.
    pub async fn connect_unbuffered(base: &str, token: &str) -> Self {
        let tcp = TcpSocket::new_v4().unwrap();
        tcp.set_recv_buffer_size(4 * 1024).unwrap();
        let address = base.strip_prefix("http://").unwrap().parse().unwrap();
        let stream = MaybeTlsStream::Plain(tcp.connect(address).await.unwrap());
        let (stream, _) = client_async(url(base), stream).await.unwrap();
        let mut socket = Self::on(stream).await;
        socket.send(&format!("40{}", json!({ "token": token }))).await;
        while !matches!(socket.receive().await, Arrived::Connected) {}
        socket
    }

    /// Connects with a token and with the header `traceparent` in the handshake.
    pub async fn connect_in_trace(base: &str, token: &str, traceparent: &str) -> Self {
        let mut request = url(base).into_client_request().unwrap();
        request.headers_mut().insert("traceparent", traceparent.parse().unwrap());
        let (stream, _) = connect_async(request).await.unwrap();
        let mut socket = Self::on(stream).await;
        socket.send(&format!("40{}", json!({ "token": token }))).await;
        while !matches!(socket.receive().await, Arrived::Connected) {}
        socket
    }

    async fn on(stream: WebSocketStream<MaybeTlsStream<TcpStream>>) -> Self {
        let mut socket = Self {
            stream,
            acks: 0,
            events: VecDeque::new(),
            acknowledged: Vec::new(),
            closed: None,
            handshake: Value::Null,
        };
        let Some(Ok(Message::Text(open))) = socket.stream.next().await else {
            panic!("no handshake")
        };
        socket.handshake = serde_json::from_str(open.strip_prefix('0').unwrap()).unwrap();
        socket
    }

    /// Connects to the namespace; returns the refusal if it is refused.
    pub async fn try_connect(base: &str, auth: Value) -> Result<Self, Value> {
        let mut socket = Self::open(base).await;
        socket.send(&format!("40{auth}")).await;
        loop {
            match socket.receive().await {
                Arrived::Connected => return Ok(socket),
                Arrived::Refused(refusal) => return Err(refusal),
                Arrived::End => panic!("closed instead of connected: {:?}", socket.closed),
                _ => {}
            }
        }
    }

    /// Connects with a token.
    pub async fn connect(base: &str, token: &str) -> Self {
        Self::try_connect(base, json!({ "token": token })).await.unwrap()
    }

    /// Sends a text message unchanged.
    pub async fn send(&mut self, text: &str) {
        self.stream.send(Message::text(text)).await.unwrap();
    }

    /// Sends a WebSocket message unchanged and ignores errors: the server may have closed.
    pub async fn send_raw(&mut self, message: Message) {
        let _ = self.stream.send(message).await;
    }

    /// Emits an event; returns the id of its acknowledgement.
    pub async fn emit(&mut self, name: &str, data: Value) -> u64 {
        self.acks += 1;
        let packet = format!("42{}{}", self.acks, json!([name, data]));
        self.send(&packet).await;
        self.acks
    }

    /// Waits for the acknowledgement with this id.
    pub async fn ack(&mut self, id: u64) -> Value {
        loop {
            if let Some(index) = self.acknowledged.iter().position(|(ack, _)| *ack == id) {
                return self.acknowledged.swap_remove(index).1;
            }
            if let Arrived::End = self.receive().await {
                panic!("closed before the acknowledgement: {:?}", self.closed);
            }
        }
    }

    /// Emits and waits for the acknowledgement.
    pub async fn call(&mut self, name: &str, data: Value) -> Value {
        let id = self.emit(name, data).await;
        self.ack(id).await
    }

    /// Emits; panics unless the acknowledgement reports success.
    pub async fn ok(&mut self, name: &str, data: Value) -> Value {
        let ack = self.call(name, data).await;
        assert_eq!(ack["ok"], true, "{name}: {ack}");
        ack
    }

    /// Emits; panics unless the acknowledgement is a refusal with this code.
    pub async fn refused(&mut self, name: &str, data: Value, code: &str) {
        let ack = self.call(name, data).await;
        assert_eq!(
            (&ack["ok"], &ack["error"]["code"]),
            (&json!(false), &json!(code)),
            "{name}: {ack}"
        );
        assert!(ack["error"]["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
    }

    /// The next event with this name. Other events are kept.
    pub async fn expect(&mut self, name: &str) -> Value {
        self.expect_where(name, |_| true).await
    }

    /// The next event with this name that fits. Earlier ones of the name are dropped, other names are kept.
    pub async fn expect_where(&mut self, name: &str, fits: impl Fn(&Value) -> bool) -> Value {
        loop {
            while let Some(index) = self.events.iter().position(|(event, _)| event == name) {
                let (_, data) = self.events.remove(index).unwrap();
                if fits(&data) {
                    return data;
                }
            }
            if let Arrived::End = self.receive().await {
                panic!("closed before {name}: {:?}", self.closed);
            }
        }
    }

    /// The next event with one of these names, and its name. Other events are kept.
    pub async fn expect_one_of(&mut self, names: &[&str]) -> (String, Value) {
        loop {
            let found = self.events.iter().position(|(event, _)| names.contains(&event.as_str()));
            if let Some(index) = found {
                return self.events.remove(index).unwrap();
            }
            if let Arrived::End = self.receive().await {
                panic!("closed before any of {names:?}: {:?}", self.closed);
            }
        }
    }

    /// All stored events that have arrived and were not taken, as `(name, seq, prev)`.
    pub fn stored(&self) -> Vec<(String, u64, u64)> {
        let number = |data: &Value, field: &str| data[field].as_u64();
        let stored = self.events.iter().filter_map(|(name, data)| {
            Some((name.clone(), number(data, "seq")?, number(data, "prev")?))
        });
        stored.collect()
    }

    /// The number of acknowledgements that were not waited for.
    pub fn unclaimed_acks(&self) -> usize {
        self.acknowledged.len()
    }

    /// Drops all events that were not taken.
    pub fn forget(&mut self) {
        self.events.clear();
    }

    /// Waits until the server closes the connection.
    pub async fn closed(&mut self) -> Closed {
        while !matches!(self.receive().await, Arrived::End) {}
        self.closed.take().unwrap()
    }

    async fn receive(&mut self) -> Arrived {
        let next =
            tokio::time::timeout(DEADLINE, self.stream.next()).await.expect("something arrives");
        match next {
            Some(Ok(Message::Text(text))) => self.on_text(&text).await,
            Some(Ok(Message::Close(frame))) => {
                let code = frame.map_or(1005, |CloseFrame { code, .. }| code.into());
                self.closed = Some(Closed::Code(code));
                Arrived::End
            }
            Some(Ok(_)) => Arrived::Other,
            Some(Err(_)) | None => {
                self.closed.get_or_insert(Closed::Broken);
                Arrived::End
            }
        }
    }

    async fn on_text(&mut self, text: &str) -> Arrived {
        if text == "2" {
            self.send("3").await;
            return Arrived::Other;
        }
        let Some((kind, rest)) = text.split_at_checked(2) else { return Arrived::Other };
        let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        match kind {
            "40" => Arrived::Connected,
            "44" if rest.starts_with('{') => Arrived::Refused(json(rest)),
            "42" => {
                let mut event = json(rest);
                let name = event[0].as_str().unwrap().to_owned();
                self.events.push_back((name, event[1].take()));
                Arrived::Event
            }
            "43" => {
                let digits = rest.find('[').unwrap();
                let mut arguments = json(&rest[digits..]);
                self.acknowledged.push((rest[..digits].parse().unwrap(), arguments[0].take()));
                Arrived::Ack
            }
            _ => Arrived::Other,
        }
    }
}

fn url(base: &str) -> String {
    format!("{}/socket.io/?EIO=4&transport=websocket", base.replacen("http", "ws", 1))
}
