//! Handling of received data: bytes, messages, and connects to the namespace.

use std::{io, rc::Rc, time::Duration};

use protocol::{
    Code,
    code::Refusal,
    json,
    token::{Access, TokenError},
};
use serde::Deserialize;
use tokio::{io::Interest, net::TcpStream, task::AbortHandle};

use super::{WeakWorker, Worker};
use crate::{
    session::token_refusal,
    wire::{
        sid::SocketId,
        ws::{self, Message, Violation},
    },
    worker::{
        socket::{Pause, Reaction},
        timers::Due,
    },
};

/// Bytes read from one socket before other sockets are served.
const READ_AT_ONCE: usize = 16 * 1024;

/// Starts the task that reads a socket until it ends.
pub fn spawn_reader(worker: WeakWorker, id: SocketId, stream: Rc<TcpStream>) -> AbortHandle {
    tokio::task::spawn_local(read(worker, id, stream)).abort_handle()
}

async fn read(worker: WeakWorker, id: SocketId, stream: Rc<TcpStream>) {
    let Some(worker) = worker.upgrade() else { return };
    // Messages that arrived with the handshake may have to wait already.
    let mut pause = worker.borrow_mut().sockets.pause(id);
    'open: loop {
        while let Some(reason) = pause {
            if reason.over().await.is_err() {
                break 'open;
            }
            let mut worker = worker.borrow_mut();
            worker.on_bytes(id, &[]);
            pause = worker.sockets.pause(id);
        }
        if stream.readable().await.is_err() {
            break;
        }
        let read = worker.borrow_mut().read_ready(id, &stream);
        let Ok(next) = read else { break };
        pause = next;
    }
    worker.borrow_mut().remove(id, None);
}

#[derive(Deserialize)]
struct Auth {
    token: Option<String>,
}

impl Worker {
    /// Reads the available bytes into the buffer that all sockets of the worker share.
    fn read_ready(&mut self, id: SocketId, stream: &TcpStream) -> io::Result<Option<Pause>> {
        let mut buffer = std::mem::take(&mut self.read_buffer);
        buffer.resize(READ_AT_ONCE, 0);
        let outcome = match stream.try_read(&mut buffer) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                if count < buffer.len() {
                    // After a short read the socket's receive buffer is empty (epoll(7)). Clears the readiness
                    // here; otherwise every message would cost a second read that returns `WouldBlock`.
                    let empty = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
                    let _ = stream.try_io(Interest::READABLE, empty);
                }
                self.on_bytes(id, &buffer[..count]);
                Ok(self.sockets.pause(id))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        };
        self.read_buffer = buffer;
        outcome
    }

    /// Handles received bytes, and earlier messages that had to wait.
    pub fn on_bytes(&mut self, id: SocketId, bytes: &[u8]) {
        if let Some(socket) = self.sockets.get_mut(id)
            && !bytes.is_empty()
        {
            socket.feed(bytes);
            self.received.increment(bytes.len() as u64);
        }
        loop {
            let Some(socket) = self.sockets.get_mut(id) else { return };
            let handled = match socket.next_message() {
                Ok(Some(message)) => self.on_message(id, message),
                Ok(None) => break,
                Err(violation) => Err(violation),
            };
            if let Err(Violation { code, reason }) = handled {
                metrics::counter!("chat_gateway_violations_total").increment(1);
                self.close(id, code, reason);
                break;
            }
        }
        let reserved = self.sockets.get_mut(id).map(|socket| socket.intake_mut().reserve());
        if let Some(Err(_)) = reserved {
            self.close(id, 1013, "memory is short");
        }
    }

    /// Handles a message of either transport.
    pub fn on_message(&mut self, id: SocketId, message: Message) -> Result<(), Violation> {
        let Some(socket) = self.sockets.get_mut(id) else { return Ok(()) };
        match socket.on_message(message)? {
            Reaction::Ignore => {}
            Reaction::Send(frame) => self.sockets.push(id, frame),
            Reaction::SendAll(frames) => {
                frames.into_iter().for_each(|frame| self.sockets.push(id, frame));
            }
            Reaction::Connect { auth } => self.connect(id, &auth),
            Reaction::Disconnect => {
                self.rooms.leave_all(id, &mut self.sockets);
                if let Some(socket) = self.sockets.get_mut(id) {
                    socket.reset_authentication();
                    socket.limit_messages(|is_limited| self.context.max_message(is_limited));
                }
                self.timers.start(self.context.rules.limits.handshake, id, Due::Handshake);
            }
            Reaction::Event { event, ack } => match event {
                Ok(event) => self.on_event(id, event, ack),
                Err(refusal) => self.sockets.acknowledge(id, ack, Err(refusal)),
            },
            // A long-polling session ends with the answer to its poll; a WebSocket gets a close frame.
            Reaction::Close if socket.transport_mut().release_poll() => self.remove(id, None),
            Reaction::Close => self.close(id, 1000, "closed by the client"),
            Reaction::Remove => self.remove(id, None),
        }
        Ok(())
    }

    /// Verifies the token of a client that connects to the namespace. If the token's key is unknown, the keys
    /// are fetched first.
    fn connect(&mut self, id: SocketId, auth: &str) {
        let Some(socket) = self.sockets.get_mut(id) else { return };
        let token = match socket.publishing_mut().is_idle() {
            true => token(auth),
            false => {
                Err(Refusal::new(Code::Busy, "earlier events are still being stored; try again"))
            }
        };
        let token = match token {
            Ok(token) => token,
            Err(refusal) => return self.sockets.refuse_connect(id, &refusal),
        };
        let keys = self.context.keys.clone();
        match keys.verify(&token) {
            Err(TokenError::UnknownKey) => {
                socket.begin_authentication();
                let worker = self.me.clone();
                tokio::task::spawn_local(async move {
                    let result = keys.access(&token).await;
                    if let Some(worker) = worker.upgrade() {
                        worker.borrow_mut().connected(id, result);
                    }
                });
            }
            result => self.connected(id, result),
        }
    }

    /// Completes a connect to the namespace after its token was verified or refused.
    fn connected(&mut self, id: SocketId, result: Result<Access, TokenError>) {
        let Some(socket) = self.sockets.get_mut(id) else { return };
        if socket.is_closing() {
            return;
        }
        let session = result.map_err(token_refusal);
        let session = session.and_then(|access| self.context.start_session(access));
        match session {
            Ok((session, admitted)) => {
                socket.authenticate(session, admitted);
                socket.limit_messages(|is_limited| self.context.max_message(is_limited));
                let sid = uuid::Uuid::new_v4().simple().to_string();
                self.sockets.push(id, ws::text(&[r#"40{"sid":""#, &sid, r#""}"#]));
                self.timers.start(Duration::ZERO, id, Due::Expiry);
                if self.draining.is_some() {
                    self.timers.start(Duration::ZERO, id, Due::Migrate);
                }
            }
            Err(refusal) => {
                socket.reset_authentication();
                self.sockets.refuse_connect(id, &refusal);
            }
        }
    }
}

/// The access token in the data of a connect packet.
fn token(auth: &str) -> Result<String, Refusal> {
    let auth = if auth.is_empty() { "{}" } else { auth };
    match json::parse::<Auth>(auth.as_bytes()) {
        Ok(Auth { token: Some(token) }) => Ok(token),
        Ok(Auth { token: None }) => {
            Err(Refusal::new(Code::TokenMissing, "the handshake's auth has no token"))
        }
        Err(error) => Err(Refusal::new(error.code, error.to_string())),
    }
}
