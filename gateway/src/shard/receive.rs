//! What comes from a socket: bytes, messages, packets, events, in this order and no other.

use std::{io, rc::Rc, time::Instant};

use protocol::{
    Code,
    code::Refusal,
    event::ClientEvent,
    json,
    token::{Access, TokenError},
};
use serde::Deserialize;
use tokio::{io::Interest, net::TcpStream, sync::oneshot};

use super::{
    SocketId, SocketRef,
    connection::SharedShard,
    outgoing::Send,
    socket::{Socket, Stage},
    state::Shard,
};
use crate::{
    packet::{EnginePacket, Packet},
    room::Command as RoomCommand,
    session::{Action, Session, token_refusal},
    ws::{self, Message, Violation, protocol_error},
};

/// Bytes taken from one socket before the others get their turn.
const READ_AT_ONCE: usize = 16 * 1024;

/// Reads a socket until it ends.
pub async fn read(shard: SharedShard, id: SocketId, stream: Rc<TcpStream>) {
    while stream.readable().await.is_ok() {
        let read = shard.borrow_mut().read_ready(id, &stream);
        let Ok(paused) = read else { break };
        if let Some(resumed) = paused
            && resumed.await.is_err()
        {
            break;
        }
    }
    shard.borrow_mut().remove(id);
}

#[derive(Deserialize)]
struct Auth {
    token: Option<String>,
}

impl Shard {
    /// Reads what is there, into the buffer that all sockets of the shard share.
    fn read_ready(
        &mut self,
        id: SocketId,
        stream: &TcpStream,
    ) -> io::Result<Option<oneshot::Receiver<()>>> {
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
                Ok(self.on_readable(id, &chunk[..count]))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        };
        self.chunk = chunk;
        outcome
    }

    fn on_readable(&mut self, id: SocketId, bytes: &[u8]) -> Option<oneshot::Receiver<()>> {
        self.on_bytes(id, bytes);
        let socket = self.socket(id)?;
        if !socket.is_overloaded() {
            return None;
        }
        let (resume, resumed) = oneshot::channel();
        socket.resume = Some(resume);
        Some(resumed)
    }

    /// Takes bytes as they come from the network.
    pub fn on_bytes(&mut self, id: SocketId, bytes: &[u8]) {
        let Some(socket) = self.socket(id) else { return };
        socket.last_heard = Instant::now();
        socket.decoder.feed(bytes);
        loop {
            let Some(socket) = self.socket(id) else { return };
            if matches!(socket.stage, Stage::Closing) {
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

    fn on_message(&mut self, id: SocketId, message: Message) -> Result<(), Violation> {
        let Some(socket) = self.socket(id) else { return Ok(()) };
        match message {
            Message::Text(_) if socket.attachments > 0 => {
                Err(protocol_error("text where an attachment belongs"))
            }
            Message::Text(text) => match EnginePacket::parse(&text)? {
                EnginePacket::Message(text) => self.on_packet(id, Packet::parse(text)?),
                EnginePacket::Ping(data) => {
                    self.push(id, ws::text(&["3", data]));
                    Ok(())
                }
                EnginePacket::Pong | EnginePacket::Noop => Ok(()),
                EnginePacket::Close => {
                    self.close(id, 1000, "");
                    Ok(())
                }
            },
            Message::Binary(_) if socket.attachments > 0 => {
                socket.attachments -= 1;
                Ok(())
            }
            Message::Binary(_) => Err(protocol_error("a binary message that nothing announced")),
            Message::Ping(payload) => {
                self.push(id, ws::pong(&payload));
                Ok(())
            }
            Message::Pong => Ok(()),
            Message::Close => {
                self.close(id, 1000, "");
                Ok(())
            }
        }
    }

    fn on_packet(&mut self, id: SocketId, packet: Packet<'_>) -> Result<(), Violation> {
        let Some(socket) = self.socket(id) else { return Ok(()) };
        match (packet, &mut socket.stage) {
            (Packet::Connect { namespace: "/", auth }, Stage::Unidentified) => {
                self.connect(id, auth);
                Ok(())
            }
            (Packet::Connect { namespace, .. }, _) if namespace != "/" => {
                let error = r#",{"message":"Invalid namespace"}"#;
                self.push(id, ws::text(&["44", namespace, error]));
                Ok(())
            }
            (Packet::Disconnect { namespace: "/" }, Stage::Identified(_)) => {
                self.close(id, 1000, "");
                Ok(())
            }
            (Packet::Disconnect { .. }, _) => Ok(()),
            (Packet::Event { name, data, extra, ack }, Stage::Identified(session)) => {
                let now = Instant::now();
                let event = session.may_act(now).and_then(|()| {
                    if extra {
                        return Err(Refusal::new(Code::WrongType, "an event has one argument"));
                    }
                    ClientEvent::parse(&name, data.map_or("null", |data| data.get()).as_bytes())
                });
                self.on_event(id, event, ack);
                Ok(())
            }
            (Packet::BinaryEvent { attachments, ack }, Stage::Identified(session)) => {
                let refusal = session.may_act(Instant::now()).err().unwrap_or_else(|| {
                    Refusal::new(Code::UnexpectedBinary, "no event here takes binary data")
                });
                socket.attachments = attachments;
                self.acknowledge(id, ack, Err(refusal));
                Ok(())
            }
            (Packet::Ack, Stage::Identified(_)) => Ok(()),
            _ => Err(protocol_error("connect to the namespace first, and once")),
        }
    }

    fn connect(&mut self, id: SocketId, auth: &str) {
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
        let Some(shard) = self.me() else { return };
        if let Some(socket) = self.socket(id) {
            socket.stage = Stage::Identifying;
        }
        let keys = self.context().keys.clone();
        tokio::task::spawn_local(async move {
            let result = keys.access(&token).await;
            shard.borrow_mut().connected(id, result);
        });
    }

    fn connected(&mut self, id: SocketId, result: Result<Access, TokenError>) {
        let rules = self.context().rules.clone();
        let session = result
            .map_err(token_refusal)
            .and_then(|access| Session::new(access, rules, Instant::now()));
        let Some(socket) = self.socket(id) else { return };
        if matches!(socket.stage, Stage::Closing) {
            return;
        }
        match session {
            Ok(session) => {
                socket.stage = Stage::Identified(Box::new(session));
                let sid = uuid::Uuid::new_v4().simple().to_string();
                self.push(id, ws::text(&[r#"40{"sid":""#, &sid, r#""}"#]));
                self.check_expiry(id);
                if self.draining.is_some() {
                    self.clock.after(std::time::Duration::ZERO, id, super::clock::Due::Migrate);
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

    fn on_event(&mut self, id: SocketId, event: Result<ClientEvent, Refusal>, ack: Option<u64>) {
        let event = match event {
            Ok(event) => event,
            Err(refusal) => return self.acknowledge(id, ack, Err(refusal)),
        };
        metrics::counter!("gateway_events_total", "event" => event.name()).increment(1);
        let verifier = self.context().keys.verifier();
        let Some(session) = self.socket(id).and_then(Socket::session) else { return };
        let Some(verifier) = verifier else {
            let refusal = Refusal::new(Code::Unavailable, "the public keys are not there yet");
            return self.acknowledge(id, ack, Err(refusal));
        };
        match session.on_event(event, &verifier) {
            Ok(action) => self.perform(id, action, ack),
            Err(refusal) => self.acknowledge(id, ack, Err(refusal)),
        }
    }

    fn perform(&mut self, id: SocketId, action: Action, ack: Option<u64>) {
        use protocol::event::Done;
        match action {
            Action::Join { room, person, after } => {
                self.detach(id, room);
                let socket = SocketRef { shard: self.index, id };
                let command = RoomCommand::Join { socket, person, after, ack };
                if self.context().rooms.send(room, command).is_err() {
                    if let Some(session) = self.socket(id).and_then(Socket::session) {
                        session.forget(room);
                    }
                    let refusal = Refusal::new(Code::Busy, "the room is busy; try again");
                    self.acknowledge(id, ack, Err(refusal));
                }
            }
            Action::Rename { room, person } => {
                self.tell_room(room, RoomCommand::Rename { person });
                self.acknowledge(id, ack, Ok(Done::Nothing {}));
            }
            Action::Leave { room } => {
                self.detach(id, room);
                self.acknowledge(id, ack, Ok(Done::Nothing {}));
            }
            Action::Store { room, id: message, event, file } => {
                self.store(id, Send { room, id: message, event, file, ack });
            }
            Action::Refresh { token } => {
                let result = self.context().keys.verify(&token);
                let Some(session) = self.socket(id).and_then(Socket::session) else { return };
                let outcome = session.refreshed(result);
                self.acknowledge(id, ack, outcome);
            }
        }
    }
}
