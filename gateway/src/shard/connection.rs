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
    receive::read,
    socket::{Socket, Stage},
    state::Shard,
};
use crate::ws::{self, Decoder};

/// How long the peer may take to close its side after we closed ours.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);
/// The share of the drain time in which all sockets are told, so that the last one has time too.
const TELL_WITHIN: f64 = 0.5;

/// The gateway stops.
pub struct Draining {
    deadline: Timestamp,
    ends: Instant,
}

impl Shard {
    /// Takes over a connection whose WebSocket handshake is done.
    pub fn accept(&mut self, stream: std::net::TcpStream, received: &[u8]) {
        let stream = match TcpStream::from_std(stream) {
            Ok(stream) => Rc::new(stream),
            Err(error) => return tracing::error!(%error, "a socket cannot be taken over"),
        };
        let Some(shard) = self.me() else { return };
        let limits = self.context().rules.limits.clone();
        self.generation = self.generation.wrapping_add(1);
        let decoder = Decoder::new(limits.frame_bytes);
        let socket = Socket::new(stream.clone(), self.generation, decoder);
        let index = self.sockets.insert(socket);
        let id = SocketId { index: index as u32, generation: self.generation };
        metrics::gauge!("gateway_sockets").increment(1);
        let open = format!(
            r#"0{{"sid":"{}","upgrades":[],"pingInterval":{},"pingTimeout":{},"maxPayload":{}}}"#,
            uuid::Uuid::new_v4().simple(),
            limits.ping_interval.as_millis(),
            limits.ping_timeout.as_millis(),
            limits.frame_bytes,
        );
        self.push(id, ws::text(&[&open]));
        self.clock.after(limits.handshake, id, Due::Handshake);
        self.clock.after(limits.ping_interval, id, Due::Ping);
        if self.draining.is_some() {
            self.clock.after(Duration::ZERO, id, Due::Migrate);
        }
        let reader = tokio::task::spawn_local(read(shard, id, stream)).abort_handle();
        if let Some(socket) = self.socket(id) {
            socket.reader = Some(reader);
        }
        self.on_bytes(id, received);
    }

    /// Everything queued is out.
    pub fn written(&mut self, id: SocketId) {
        let Some(socket) = self.socket(id) else { return };
        if !socket.is_overloaded()
            && let Some(reader) = socket.resume.take()
        {
            // A reader that is gone needs no waking.
            let _ = reader.send(());
        }
        if matches!(socket.stage, Stage::Closing) && socket.is_written() {
            // The peer reads the close frame before it sees the end of the stream.
            let _ = socket2::SockRef::from(&*socket.stream).shutdown(Shutdown::Write);
        }
    }

    /// Has the socket flushed again once its peer takes more.
    pub fn wait_until_writable(&mut self, id: SocketId) {
        let Some(shard) = self.me() else { return };
        self.set_blocked(id, true);
        let Some(socket) = self.socket(id) else { return };
        let stream = socket.stream.clone();
        tokio::task::spawn_local(async move {
            // An error shows again at the write.
            let _ = stream.writable().await;
            let mut shard = shard.borrow_mut();
            shard.set_blocked(id, false);
            shard.mark_rooms_dirty(id);
            shard.mark_dirty(id);
        });
    }

    /// Says why, writes what is left, and closes.
    pub fn close(&mut self, id: SocketId, code: u16, reason: &str) {
        self.detach_all(id);
        let Some(socket) = self.socket(id) else { return };
        if matches!(socket.stage, Stage::Closing) {
            return;
        }
        tracing::debug!(
            code,
            reason,
            seconds = socket.connected.elapsed().as_secs(),
            "closing a socket"
        );
        socket.stage = Stage::Closing;
        socket.push(ws::close(code, reason));
        self.mark_dirty(id);
        self.clock.after(CLOSE_WITHIN, id, Due::Close);
    }

    /// The session is over: says so, disconnects from the namespace, and closes.
    pub fn expire(&mut self, id: SocketId, code: Code) {
        self.emit(id, &ServerEvent::SessionExpired { code });
        self.push(id, ws::text(&["41"]));
        self.close(id, 1000, code.as_str());
    }

    /// Forgets a socket at once.
    pub fn remove(&mut self, id: SocketId) {
        self.detach_all(id);
        if self.socket(id).is_none() {
            return;
        }
        let socket = self.sockets.remove(id.index as usize);
        if let Some(reader) = socket.reader {
            reader.abort();
        }
        metrics::gauge!("gateway_sockets").decrement(1);
    }

    /// Looks at a socket at its time.
    pub fn on_due(&mut self, id: SocketId, due: Due, now: Instant) {
        let limits = self.context().rules.limits.clone();
        let deadline = self.draining.as_ref().map(|draining| draining.deadline);
        let Some(socket) = self.socket(id) else { return };
        let identified = matches!(socket.stage, Stage::Identified(_));
        match due {
            Due::Handshake if matches!(socket.stage, Stage::Unidentified | Stage::Identifying) => {
                self.close(id, 1008, "not authenticated in time");
            }
            Due::Ping if !matches!(socket.stage, Stage::Closing) => {
                self.push(id, ws::text(&["2"]));
                self.clock.after(limits.ping_timeout, id, Due::Pong);
                self.clock.after(limits.ping_interval, id, Due::Ping);
            }
            Due::Pong if now.duration_since(socket.last_heard) >= limits.ping_timeout => {
                tracing::debug!("a socket does not answer");
                self.remove(id);
            }
            Due::Expiry => self.check_expiry(id),
            Due::Close => self.remove(id),
            Due::Migrate if identified => {
                if let Some(deadline) = deadline {
                    self.emit(id, &ServerEvent::Migrate { deadline });
                }
            }
            Due::Handshake | Due::Ping | Due::Pong | Due::Migrate => {}
        }
    }

    /// Ends the session if its token has expired, or looks again when the refreshed one does.
    pub fn check_expiry(&mut self, id: SocketId) {
        let Some(session) = self.socket(id).and_then(Socket::session) else { return };
        let left = session.expires() - Timestamp::now().unix();
        match u64::try_from(left) {
            Ok(left @ 1..) => self.clock.after(Duration::from_secs(left), id, Due::Expiry),
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
            self.clock.after(wait, id, Due::Migrate);
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

/// The shard, shared by the tasks of its thread.
pub type SharedShard = Rc<RefCell<Shard>>;
