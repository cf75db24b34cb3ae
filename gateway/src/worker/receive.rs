//! What comes from a socket: bytes, messages, packets, events, in this order and no other.

use std::{
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use protocol::{
    Code,
    code::Refusal,
    event::ClientEvent,
    json,
    token::{Access, TokenError},
};
use serde::Deserialize;
use service::admission::Owner;
use tokio::{io::Interest, net::TcpStream, sync::oneshot};

use super::{
    SocketId,
    connection::SharedWorker,
    socket::{Stage, Transport},
    state::Worker,
};
use crate::{
    session::{Session, token_refusal},
    wire::packet::{EnginePacket, Kind, Packet},
    wire::ws::{self, Message, Violation, protocol_error},
};

/// Bytes taken from one socket before the others get their turn.
const READ_AT_ONCE: usize = 16 * 1024;
/// A socket that sends more events than it may is not read from for so long: its neighbours do not
/// pay for its refusals.
const THROTTLE: Duration = Duration::from_millis(50);

/// Bytes of a message from a socket that has not authenticated: all it may send is its access token.
const UNAUTHENTICATED_BYTES: usize = 16 * 1024;
/// Bytes that are read and thrown away at full speed after a close, so that a client in the middle of a
/// message can read why. Those after them are read slowly.
const DISCARDED_FREELY: usize = 1024 * 1024;

/// How often one connection may ask for a namespace: each time is a signature to verify.
const CONNECTS: usize = 20;

/// How long to wait before reading from a socket again.
pub enum Pause {
    No,
    Throttled,
    /// Until it has taken more of its answers.
    Until(oneshot::Receiver<()>),
}

impl Pause {
    /// Waits. An error says that the socket is gone.
    pub async fn over(self) -> Result<(), oneshot::error::RecvError> {
        match self {
            Self::No => Ok(()),
            Self::Throttled => {
                tokio::time::sleep(THROTTLE).await;
                Ok(())
            }
            Self::Until(resumed) => resumed.await,
        }
    }
}

/// Reads a socket until it ends.
pub async fn read(worker: SharedWorker, id: SocketId, stream: Rc<TcpStream>) {
    // Messages that came with the handshake may have to wait already.
    let mut pause = worker.borrow_mut().pause(id);
    'open: loop {
        while !matches!(pause, Pause::No) {
            if pause.over().await.is_err() {
                break 'open;
            }
            let mut worker = worker.borrow_mut();
            worker.take_messages(id);
            pause = worker.pause(id);
        }
        if stream.readable().await.is_err() {
            break;
        }
        let read = worker.borrow_mut().read_ready(id, &stream);
        let Ok(next) = read else { break };
        pause = next;
    }
    worker.borrow_mut().remove(id);
}

#[derive(Deserialize)]
struct Auth {
    token: Option<String>,
}

impl Worker {
    /// Reads what is there, into the buffer that all sockets of the worker share.
    fn read_ready(&mut self, id: SocketId, stream: &TcpStream) -> io::Result<Pause> {
        let mut chunk = std::mem::take(&mut self.chunk);
        chunk.resize(READ_AT_ONCE, 0);
        let outcome = match stream.try_read(&mut chunk) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                if count < chunk.len() {
                    // The socket is empty: epoll(7) says so for a short read. Asking again would
                    // cost another read for every message.
                    let empty = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
                    let _ = stream.try_io(Interest::READABLE, empty);
                }
                self.on_bytes(id, &chunk[..count]);
                Ok(self.pause(id))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Pause::No),
            Err(error) => Err(error),
        };
        self.chunk = chunk;
        outcome
    }

    /// Whether the socket may send more at once.
    pub fn pause(&mut self, id: SocketId) -> Pause {
        let Some(socket) = self.socket(id) else { return Pause::No };
        // Not `||`: both are taken.
        if std::mem::take(&mut socket.throttled) | std::mem::take(&mut socket.flooding) {
            return Pause::Throttled;
        }
        if !socket.is_overloaded() {
            return Pause::No;
        }
        let (resume, resumed) = oneshot::channel();
        socket.paused = Some(resume);
        Pause::Until(resumed)
    }

    /// Takes bytes as they come from the network.
    pub fn on_bytes(&mut self, id: SocketId, bytes: &[u8]) {
        let Some(socket) = self.socket(id) else { return };
        socket.heard(bytes.len());
        if socket.is_closing() {
            socket.discarded = socket.discarded.saturating_add(bytes.len());
            socket.throttled |= socket.discarded > DISCARDED_FREELY;
        } else {
            socket.decoder.feed(bytes);
        }
        self.meters.received.increment(bytes.len() as u64);
        self.take_messages(id);
        let Some(socket) = self.socket(id) else { return };
        if socket.received.try_follow(socket.decoder.held()).is_err() {
            self.close(id, 1013, "memory is short");
        }
    }

    /// How big a message of a socket may be now.
    pub fn message_limit(&mut self, id: SocketId) -> usize {
        let (limit, echo) =
            (self.context().rules.limits.frame_bytes, self.context().conformance_echo);
        match self.socket(id).map(|socket| &socket.stage) {
            Some(Stage::Unidentified | Stage::Identifying) if !echo => {
                limit.min(UNAUTHENTICATED_BYTES)
            }
            _ => limit,
        }
    }

    pub(super) fn apply_message_limit(&mut self, id: SocketId) {
        let limit = self.message_limit(id);
        if let Some(socket) = self.socket(id) {
            socket.decoder.set_max_message(limit);
        }
    }

    /// Takes the messages that are there, as long as the socket may send more.
    fn take_messages(&mut self, id: SocketId) {
        loop {
            let Some(socket) = self.socket(id) else { return };
            if socket.is_closing() || socket.is_overloaded() || socket.flooding {
                return;
            }
            let handled = match socket.decoder.message() {
                Ok(Some(message)) => self.on_message(id, message),
                Ok(None) => return,
                Err(violation) => Err(violation),
            };
            if let Err(Violation { code, reason }) = handled {
                metrics::counter!("gateway_violations_total").increment(1);
                return self.close(id, code, reason);
            }
        }
    }

    /// Takes a message, however it came.
    pub fn on_message(&mut self, id: SocketId, message: Message) -> Result<(), Violation> {
        let control = self.context().rules.limits.control();
        let Some(socket) = self.socket(id) else { return Ok(()) };
        if socket.is_closing() {
            let polls = matches!(socket.transport, Transport::Polling { .. });
            if polls && message == Message::Text("1".to_owned()) {
                // It closes too, so no poll will come for what is left.
                self.remove(id);
            }
            return Ok(());
        }
        let echoed = matches!(&socket.stage, Stage::Echo(echo) if echo.engine_only);
        match message {
            Message::Text(_) if socket.attachments > 0 => {
                Err(protocol_error("text where an attachment belongs"))
            }
            Message::Text(ref text) => match EnginePacket::parse(text)? {
                EnginePacket::Message(_) if echoed => {
                    self.echo_message(id, &message);
                    Ok(())
                }
                EnginePacket::Message(text) => self.on_packet(id, &Packet::parse(text)?),
                EnginePacket::Ping(data) => {
                    socket.count_control(control);
                    self.push(id, ws::text(&["3", data]));
                    Ok(())
                }
                EnginePacket::Pong | EnginePacket::Noop | EnginePacket::Upgrade => {
                    socket.count_control(control);
                    Ok(())
                }
                EnginePacket::Close => {
                    self.closed_by_peer(id);
                    Ok(())
                }
            },
            Message::Binary(_) if echoed => {
                self.echo_message(id, &message);
                Ok(())
            }
            Message::Binary(bytes) if socket.attachments > 0 => {
                socket.attachments -= 1;
                let is_last = socket.attachments == 0;
                self.echo_attachment(id, &bytes, is_last);
                Ok(())
            }
            Message::Binary(_) => Err(protocol_error("a binary message that nothing announced")),
            Message::Ping(payload) => {
                socket.count_control(control);
                self.push(id, ws::pong(&payload));
                Ok(())
            }
            Message::Pong => {
                socket.count_control(control);
                Ok(())
            }
            Message::Close => {
                self.closed_by_peer(id);
                Ok(())
            }
        }
    }

    fn on_packet(&mut self, id: SocketId, packet: &Packet<'_>) -> Result<(), Violation> {
        if self.context().conformance_echo {
            return self.echo_packet(id, packet);
        }
        let control = self.context().rules.limits.control();
        let Some(socket) = self.socket(id) else { return Ok(()) };
        socket.connects += usize::from(packet.kind == Kind::Connect);
        if socket.connects > CONNECTS {
            return Err(Violation { code: 1008, reason: "too many connects" });
        }
        match (packet.kind, &mut socket.stage) {
            (Kind::Connect, _) if packet.namespace != "/" => {
                self.refuse_namespace(id, packet.namespace);
                Ok(())
            }
            (Kind::Disconnect, _) if packet.namespace != "/" => {
                socket.count_control(control);
                Ok(())
            }
            _ if packet.namespace != "/" => Err(protocol_error("not connected to that namespace")),
            (Kind::Connect, Stage::Unidentified) => {
                self.connect(id, &packet.data);
                Ok(())
            }
            (Kind::Disconnect, Stage::Identified(_)) => {
                self.disconnect(id);
                Ok(())
            }
            (Kind::Event, Stage::Identified(session)) => {
                socket.life.events += 1;
                let mut event = session.may_act(packet.event_name(), Instant::now());
                socket.throttled |= event.is_err();
                if packet.attachments > 0 {
                    socket.attachments = packet.attachments;
                    event = event.and(Err(Refusal::new(
                        Code::UnexpectedBinary,
                        "no event here takes binary data",
                    )));
                }
                let event = match event {
                    Ok(()) => client_event(packet)?,
                    Err(refusal) => Err(refusal),
                };
                self.on_event(id, event, packet.ack);
                Ok(())
            }
            // We ask for no acknowledgement, so this answers nothing.
            (Kind::Ack, Stage::Identified(session)) => {
                socket.throttled |= session.may_act("", Instant::now()).is_err();
                socket.attachments = packet.attachments;
                Ok(())
            }
            _ => Err(protocol_error("connect to the namespace first, and once")),
        }
    }

    pub(super) fn refuse_namespace(&mut self, id: SocketId, namespace: &str) {
        let error = r#"{"message":"Invalid namespace"}"#.into();
        let (kind, ack) = (Kind::ConnectError, None);
        let packet = Packet { kind, attachments: 0, namespace, ack, data: error };
        self.push(id, ws::text(&["4", &packet.encode()]));
    }

    fn connect(&mut self, id: SocketId, auth: &str) {
        let Some(socket) = self.socket(id) else { return };
        if !socket.outgoing.is_idle() {
            let refusal = Refusal::new(Code::Busy, "events from before are still being stored");
            return self.refuse_connect(id, &refusal);
        }
        let auth = if auth.is_empty() { "{}" } else { auth };
        let token = match json::parse::<Auth>(auth.as_bytes()) {
            Ok(Auth { token: Some(token) }) => token,
            Ok(Auth { token: None }) => {
                let refusal = Refusal::new(Code::TokenMissing, "the handshake's auth has no token");
                return self.refuse_connect(id, &refusal);
            }
            Err(bad) => return self.refuse_connect(id, &Refusal::new(bad.code, bad.to_string())),
        };
        match self.context().keys.verify(&token) {
            Err(TokenError::UnknownKey) => self.verify_later(id, token),
            result => self.connected(id, result),
        }
    }

    /// Looks for the token's key first.
    fn verify_later(&mut self, id: SocketId, token: String) {
        let Some(worker) = self.me.upgrade() else { return };
        if let Some(socket) = self.socket(id) {
            socket.stage = Stage::Identifying;
        }
        let keys = self.context().keys.clone();
        tokio::task::spawn_local(async move {
            let result = keys.access(&token).await;
            worker.borrow_mut().connected(id, result);
        });
    }

    fn connected(&mut self, id: SocketId, result: Result<Access, TokenError>) {
        let rules = self.context().rules.clone();
        let admission = self.context().admission.clone();
        let session = result.map_err(token_refusal).and_then(|access| {
            let (user, limit) = (Owner::User(access.user), rules.limits.sockets_per_user);
            let admitted = admission.admit(user, limit).ok_or(Refusal::new(
                Code::TooManySockets,
                "close another of your connections first",
            ))?;
            Ok((Session::new(access, rules, Instant::now())?, admitted))
        });
        let Some(socket) = self.socket(id) else { return };
        if socket.is_closing() {
            return;
        }
        match session {
            Ok((session, admitted)) => {
                socket.admitted[1] = Some(admitted);
                socket.life.user = Some(session.user());
                socket.stage = Stage::Identified(Box::new(session));
                self.apply_message_limit(id);
                let sid = uuid::Uuid::new_v4().simple().to_string();
                self.push(id, ws::text(&[r#"40{"sid":""#, &sid, r#""}"#]));
                self.check_expiry(id);
                if self.draining.is_some() {
                    self.remind(id, Duration::ZERO, super::clock::Due::Migrate);
                }
            }
            Err(refusal) => {
                socket.stage = Stage::Unidentified;
                self.refuse_connect(id, &refusal);
            }
        }
    }

    fn refuse_connect(&mut self, id: SocketId, refusal: &Refusal) {
        metrics::counter!("gateway_refusals_total", "code" => refusal.code.as_str()).increment(1);
        let error = serde_json::json!({ "message": refusal.detail, "data": refusal });
        self.push(id, ws::text(&["44", &error.to_string()]));
    }
}

/// The event of a packet: a violation if it is none, a refusal if it is none of the contract's.
fn client_event(packet: &Packet<'_>) -> Result<Result<ClientEvent, Refusal>, Violation> {
    let event = packet.event()?;
    if event.extra {
        return Ok(Err(Refusal::new(Code::WrongType, "an event has one argument")));
    }
    let data = event.data.map_or("null", |data| data.get());
    Ok(ClientEvent::parse(&event.name, data.as_bytes()))
}
