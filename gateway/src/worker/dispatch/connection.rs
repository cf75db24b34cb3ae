//! The lifecycle of sockets: opening, heartbeats, expiry, drain and closing.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use protocol::{Code, Timestamp, event::ServerEvent};
use tokio::net::TcpStream;

use super::{Worker, receive};
use crate::{
    command::Opening,
    wire::{
        sid::{Sid, SocketId},
        ws::{self, Decoder},
    },
    worker::{
        socket::{Chat, Echo, Handler, Intake, Socket, Transport},
        timers::Due,
    },
};

/// How long the peer may take to close its side of the connection after the gateway closed its side.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// Maximum wait of an expiry timer. The timer of a removed socket stays in the queue until it fires, so long
/// waits would accumulate.
const CHECK_EXPIRY_EVERY: Duration = Duration::from_secs(60);

impl Worker {
    /// Takes over a connection whose WebSocket handshake is complete.
    pub fn accept(&mut self, opening: Opening, stream: std::net::TcpStream, received: &[u8]) {
        let stream = match TcpStream::from_std(stream) {
            Ok(stream) => Rc::new(stream),
            Err(error) => {
                return tracing::error!(%error, "a connection cannot be registered with the runtime");
            }
        };
        let id = self.open(opening, Transport::websocket(stream.clone()));
        let reader = receive::spawn_reader(self.me.clone(), id, stream);
        if let Some(socket) = self.sockets.get_mut(id) {
            socket.transport_mut().set_reader(reader);
        }
        self.on_bytes(id, received);
    }

    /// Creates a socket and queues its first packet.
    pub fn open(&mut self, opening: Opening, transport: Transport) -> SocketId {
        let Opening { admitted, engine_echo, trace } = opening;
        let limits = &self.context.rules.limits;
        let handler = match self.context.conformance_echo {
            true => Handler::Echo(Box::new(Echo::new(engine_echo))),
            false => Handler::Chat(Chat::Unauthenticated),
        };
        let upgrades = if transport.is_polling() { r#""websocket""# } else { "" };
        let (budget, max) = (&self.context.budget, limits.frame_bytes);
        let intake = Intake::new(Decoder::new(max), budget.nothing(), limits.control());
        let mut socket = Socket::new(transport, handler, intake, admitted, budget);
        socket.set_trace(trace);
        socket.limit_messages(|is_limited| self.context.max_message(is_limited));
        let secret = socket.secret();
        let id = self.sockets.insert(socket);
        let sid = Sid { worker: self.index as u16, socket: id, secret };
        let open = format!(
            r#"0{{"sid":"{sid}","upgrades":[{upgrades}],"pingInterval":{},"pingTimeout":{},"maxPayload":{max}}}"#,
            limits.ping_interval.as_millis(),
            limits.ping_timeout.as_millis(),
        );
        self.sockets.push(id, ws::text(&[&open]));
        self.timers.start(limits.handshake, id, Due::Handshake);
        self.timers.start(limits.ping_interval, id, Due::Ping);
        id
    }

    /// Closes a socket: takes it out of its rooms, and sends its backlog with the reason as the last frame.
    pub fn close(&mut self, id: SocketId, code: u16, reason: &'static str) {
        self.rooms.leave_all(id, &mut self.sockets);
        let Some(socket) = self.sockets.get_mut(id) else { return };
        if socket.begin_closing(ws::close(code, reason), reason) {
            self.sockets.mark(id);
            self.timers.start(CLOSE_WITHIN, id, Due::Close);
        }
    }

    /// Ends a session: sends `session-expired`, disconnects the client from the namespace, and closes the
    /// socket.
    pub fn expire(&mut self, id: SocketId, code: Code) {
        self.sockets.emit(id, &ServerEvent::SessionExpired { code });
        self.sockets.push(id, ws::text(&["41"]));
        self.close(id, 1000, code.as_str());
    }

    /// Removes a socket at once and drops its backlog.
    pub fn remove(&mut self, id: SocketId, reason: Option<&'static str>) {
        if let Some((socket, reason)) = self.sockets.get_mut(id).zip(reason) {
            socket.stats_mut().set_reason(reason);
        }
        self.rooms.forget_socket(id, &mut self.sockets);
        self.sockets.remove(id);
    }

    /// Handles the timers that have fired.
    pub fn on_timers(&mut self) {
        let limits = &self.context.rules.limits;
        let (interval, timeout) = (limits.ping_interval, limits.ping_timeout);
        for (id, due) in self.timers.take_due() {
            let Some(socket) = self.sockets.get_mut(id) else { continue };
            match due {
                Due::Handshake if !socket.is_established() => {
                    self.close(id, 1008, "not authenticated in time");
                }
                Due::Ping if socket.transport_mut().check_stuck() => {
                    self.remove(id, Some("left unread for too long"));
                }
                Due::Ping if !socket.is_closing() => {
                    self.sockets.push(id, ws::text(&["2"]));
                    self.timers.start(timeout, id, Due::Pong(Instant::now()));
                    self.timers.start(interval, id, Due::Ping);
                }
                Due::Pong(asked) if socket.stats().last_heard() < asked => {
                    self.remove(id, Some("no answer to a ping"));
                }
                Due::Expiry => {
                    let Some(session) = socket.session() else { continue };
                    match u64::try_from(session.expires() - Timestamp::now().unix()) {
                        Ok(left @ 1..) => {
                            let wait = Duration::from_secs(left).min(CHECK_EXPIRY_EVERY);
                            self.timers.start(wait, id, Due::Expiry);
                        }
                        _ => self.expire(id, Code::TokenExpired),
                    }
                }
                Due::Close => self.remove(id, None),
                Due::Migrate if socket.session().is_some() => {
                    if let Some(draining) = &self.draining {
                        metrics::counter!("chat_gateway_migrations_total").increment(1);
                        let deadline = draining.deadline();
                        self.sockets.emit(id, &ServerEvent::Migrate { deadline });
                    }
                }
                Due::Handshake | Due::Ping | Due::Pong(_) | Due::Migrate => {}
            }
        }
    }

    /// Whether the drain is over: no socket is left, or closing them took too long. Closes the remaining
    /// sockets at the drain's deadline.
    pub fn is_drained(&mut self) -> bool {
        let Some(draining) = &self.draining else { return false };
        let ended_for = draining.ended_for();
        if self.sockets.is_empty() || ended_for.is_some_and(|time| time > CLOSE_WITHIN) {
            return true;
        }
        if ended_for.is_some() {
            for id in self.sockets.ids(|socket| !socket.is_closing()) {
                self.close(id, 1001, "the gateway stops");
            }
        }
        false
    }
}
