//! A socket's life: accepted, kept alive, drained, closed.

use std::{
    cell::RefCell,
    net::Shutdown,
    rc::Rc,
    time::{Duration, Instant},
};

use protocol::{Code, Timestamp, event::ServerEvent};
use tokio::net::TcpStream;

use super::{
    SocketId,
    clock::Due,
    echo::Echo,
    receive::read,
    socket::{Life, Socket, Stage, Transport},
    state::Worker,
};
use crate::{
    command::Opening,
    wire::sid::Sid,
    wire::ws::{self, Decoder},
};

/// How long the peer may take to close its side after we closed ours.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// A session's expiry is looked at this often.
const LOOK_AT_EXPIRY: Duration = Duration::from_secs(60);
/// The share of the drain time in which all sockets are told, so that the last one has time too.
const TELL_WITHIN: f64 = 0.5;

/// The gateway stops.
pub struct Draining {
    deadline: Timestamp,
    ends: Instant,
}

impl Worker {
    /// Takes over a connection whose WebSocket handshake is done.
    pub fn accept(&mut self, opening: Opening, stream: std::net::TcpStream, received: &[u8]) {
        let stream = match TcpStream::from_std(stream) {
            Ok(stream) => Rc::new(stream),
            Err(error) => return tracing::error!(%error, "a socket cannot be taken over"),
        };
        let transport = Transport::WebSocket { stream: stream.clone(), reader: None };
        let id = self.open(opening, transport);
        self.listen(id, stream);
        self.on_bytes(id, received);
    }

    /// Makes a socket and queues its first packet.
    pub fn open(&mut self, opening: Opening, transport: Transport) -> SocketId {
        let Opening { admitted, engine_echo: echo } = opening;
        let limits = &self.context().rules.limits;
        let (interval, timeout) = (limits.ping_interval, limits.ping_timeout);
        let (handshake, max) = (limits.handshake, limits.frame_bytes);
        let upgrades = match transport {
            Transport::WebSocket { .. } => "",
            Transport::Polling { .. } => r#""websocket""#,
        };
        metrics::gauge!("gateway_sockets", "transport" => transport.name()).increment(1);
        let stage = if echo { Stage::Echo(Box::new(Echo::engine())) } else { Stage::Unidentified };
        self.generation = self.generation.wrapping_add(1);
        let decoder = Decoder::new(max);
        let mut socket = Socket::new(transport, self.generation, decoder, stage, &self.budget);
        socket.admitted[0] = admitted;
        let secret = socket.secret;
        let index = self.sockets.insert(socket) as u32;
        let id = SocketId { index, generation: self.generation };
        self.apply_message_limit(id);
        let sid = Sid { worker: self.index as u16, socket: id, secret };
        let open = format!(
            r#"0{{"sid":"{sid}","upgrades":[{upgrades}],"pingInterval":{},"pingTimeout":{},"maxPayload":{max}}}"#,
            interval.as_millis(),
            timeout.as_millis(),
        );
        self.push(id, ws::text(&[&open]));
        self.remind(id, handshake, Due::Handshake);
        self.remind(id, interval, Due::Ping);
        id
    }

    /// Starts to read a WebSocket.
    pub fn listen(&mut self, id: SocketId, stream: Rc<TcpStream>) {
        let Some(worker) = self.me.upgrade() else { return };
        let task = tokio::task::spawn_local(read(worker, id, stream)).abort_handle();
        if let Some(Transport::WebSocket { reader, .. }) =
            self.socket(id).map(|socket| &mut socket.transport)
        {
            *reader = Some(task);
        }
    }

    /// Has a socket looked at later.
    pub fn remind(&mut self, id: SocketId, wait: Duration, due: Due) {
        let now = self.started.elapsed();
        self.clock.after(now, wait, id, due);
    }

    /// Everything queued is out.
    pub fn written(&mut self, id: SocketId) {
        let Some(socket) = self.socket(id) else { return };
        if socket.is_closing()
            && socket.is_written()
            && let Transport::WebSocket { stream, .. } = &socket.transport
        {
            // The peer reads the close frame before it sees the end of the stream.
            let _ = socket2::SockRef::from(&**stream).shutdown(Shutdown::Write);
        }
    }

    /// Has the socket flushed again once its peer takes more.
    pub fn wait_until_writable(&mut self, id: SocketId) {
        let Some(worker) = self.me.upgrade() else { return };
        self.set_blocked(id, true);
        let Some(socket) = self.socket(id) else { return };
        // Of long-polling, the next poll says so.
        let Transport::WebSocket { stream, .. } = &socket.transport else { return };
        let stream = stream.clone();
        tokio::task::spawn_local(async move {
            // An error shows again at the write.
            let _ = stream.writable().await;
            let mut worker = worker.borrow_mut();
            worker.set_blocked(id, false);
            worker.mark_rooms_dirty(id);
            worker.mark_dirty(id);
        });
    }

    /// Says why, writes what is left, and closes.
    pub fn close(&mut self, id: SocketId, code: u16, reason: &'static str) {
        self.detach_all(id);
        let Some(socket) = self.socket(id) else { return };
        if socket.is_closing() {
            return;
        }
        socket.life.reason = reason;
        socket.stage = Stage::Closing;
        socket.decoder.clear();
        socket.push(ws::close(code, reason));
        self.mark_dirty(id);
        self.remind(id, CLOSE_WITHIN, Due::Close);
    }

    /// The peer closes: it is answered, and nothing more is said.
    pub fn closed_by_peer(&mut self, id: SocketId) {
        if self.release_poll(id) {
            self.remove(id);
        } else {
            self.close(id, 1000, "closed by the client");
        }
    }

    /// The peer leaves the namespace. It may connect to it again, with another token.
    pub fn disconnect(&mut self, id: SocketId) {
        self.detach_all(id);
        let Some(socket) = self.socket(id) else { return };
        socket.stage = Stage::Unidentified;
        socket.admitted[1] = None;
        self.apply_message_limit(id);
        let handshake = self.context().rules.limits.handshake;
        self.remind(id, handshake, Due::Handshake);
    }

    /// The session is over: says so, disconnects from the namespace, and closes.
    pub fn expire(&mut self, id: SocketId, code: Code) {
        self.emit(id, &ServerEvent::SessionExpired { code });
        self.push(id, ws::text(&["41"]));
        self.close(id, 1000, code.as_str());
    }

    /// Forgets a socket at once.
    pub fn remove(&mut self, id: SocketId) {
        self.set_blocked(id, false);
        self.detach_all(id);
        if self.socket(id).is_none() {
            return;
        }
        let socket = self.sockets.remove(id.index as usize);
        self.meters.outgoing.decrement(socket.outgoing.waiting() as f64);
        let transport = socket.transport.name();
        if let Transport::WebSocket { reader: Some(reader), .. } = &socket.transport {
            reader.abort();
        }
        metrics::gauge!("gateway_sockets", "transport" => transport).decrement(1);
        let Life { user, events, received, sent, reason } = socket.life;
        let reason = if reason.is_empty() { "the client went away" } else { reason };
        metrics::counter!("gateway_sockets_ended_total", "reason" => reason).increment(1);
        tracing::info!(
            user = user.map(tracing::field::display),
            transport,
            seconds = socket.connected.elapsed().as_secs(),
            events,
            received,
            sent,
            reason,
            "a socket ended"
        );
    }

    /// Looks at a socket at its time.
    pub fn on_due(&mut self, id: SocketId, due: Due) {
        let limits = &self.context().rules.limits;
        let (interval, timeout) = (limits.ping_interval, limits.ping_timeout);
        let deadline = self.draining.as_ref().map(|draining| draining.deadline);
        let Some(socket) = self.socket(id) else { return };
        let identified = matches!(socket.stage, Stage::Identified(_));
        match due {
            Due::Handshake if matches!(socket.stage, Stage::Unidentified | Stage::Identifying) => {
                self.close(id, 1008, "not authenticated in time");
            }
            Due::Ping if socket.is_stuck() => {
                socket.life.reason = "left unread for too long";
                self.remove(id);
            }
            Due::Ping if !socket.is_closing() => {
                self.push(id, ws::text(&["2"]));
                self.remind(id, timeout, Due::Pong(Instant::now()));
                self.remind(id, interval, Due::Ping);
            }
            Due::Pong(asked) if socket.last_heard < asked => {
                socket.life.reason = "no answer to a ping";
                self.remove(id);
            }
            Due::Expiry => self.check_expiry(id),
            Due::Close => self.remove(id),
            Due::Migrate if identified => {
                if let Some(deadline) = deadline {
                    metrics::counter!("gateway_migrations_total").increment(1);
                    self.emit(id, &ServerEvent::Migrate { deadline });
                }
            }
            Due::Handshake | Due::Ping | Due::Pong(_) | Due::Migrate => {}
        }
    }

    /// Ends the session if its token has expired, or looks again when the refreshed one does.
    pub fn check_expiry(&mut self, id: SocketId) {
        let Some(session) = self.socket(id).and_then(Socket::session) else { return };
        let left = session.expires() - Timestamp::now().unix();
        match u64::try_from(left) {
            // Not all the time at once: the reminders of sockets that have gone wait too.
            Ok(left @ 1..) => {
                self.remind(id, Duration::from_secs(left).min(LOOK_AT_EXPIRY), Due::Expiry);
            }
            _ => self.expire(id, Code::TokenExpired),
        }
    }

    /// Tells all sockets to move, one after the other, so that they do not all come at once
    /// elsewhere.
    pub fn drain(&mut self, deadline: Timestamp, within: Duration) {
        self.draining = Some(Draining { deadline, ends: Instant::now() + within });
        let count = self.sockets.len().max(1) as f64;
        let ids: Vec<SocketId> = self
            .sockets
            .iter()
            .map(|(index, socket)| SocketId { index: index as u32, generation: socket.generation })
            .collect();
        for (nth, id) in ids.into_iter().enumerate() {
            let wait = within.mul_f64(TELL_WITHIN * nth as f64 / count);
            self.remind(id, wait, Due::Migrate);
        }
    }

    /// The gateway stops and no socket is left, or its time is over; then those left are closed.
    pub fn is_drained(&mut self) -> bool {
        let Some(draining) = &self.draining else { return false };
        let over = Instant::now().checked_duration_since(draining.ends);
        if self.sockets.is_empty() || over.is_some_and(|over| over > CLOSE_WITHIN) {
            return true;
        }
        if over.is_some() {
            let ids: Vec<SocketId> = self
                .sockets
                .iter()
                .map(|(index, socket)| SocketId {
                    index: index as u32,
                    generation: socket.generation,
                })
                .collect();
            for id in ids {
                self.close(id, 1001, "the gateway stops");
            }
        }
        false
    }
}

/// The worker, shared by the tasks of its thread.
pub type SharedWorker = Rc<RefCell<Worker>>;
