//! Long-polling: requests that poll for packets, requests that post packets, and the upgrade to WebSocket.

use std::{io, net::Shutdown, rc::Rc, time::Duration};

use bytes::Bytes;
use tokio::{
    net::TcpStream,
    sync::oneshot,
    time::{Instant, MissedTickBehavior, interval_at},
};

use super::{SharedWorker, Worker, receive};
use crate::{
    command::Posting,
    wire::{
        packet::EnginePacket,
        payload,
        sid::{Sid, SocketId},
        ws::{self, Decoder, Message, Violation},
    },
    worker::{
        context::Context,
        socket::{Socket, Transport},
    },
};

/// How often a waiting poll is answered during an upgrade, so that the client can stop to poll.
const RELEASE_EVERY: Duration = Duration::from_millis(100);
/// Packets of one request that are handled before the task yields to other sockets.
const PACKETS_AT_ONCE: usize = 64;
/// How long to try to send the refusal of an upgrade.
const REFUSE_WITHIN: Duration = Duration::from_secs(1);
/// Reads, of a kilobyte each, after the refusal of an upgrade.
const DISCARDED_READS: usize = 64;
/// The refusal of an upgrade.
const NO_SESSION: Violation = Violation { code: 1008, reason: "no session to take over" };

impl Worker {
    /// Passes a request to its session, which is closed if the request violates the protocol. `handle` returns
    /// whether packets can be sent now. A request for an unknown session is dropped.
    pub fn on_request(
        &mut self,
        sid: Sid,
        handle: impl FnOnce(&mut Socket, &Context) -> Result<bool, Violation>,
    ) {
        let Some(id) = self.sockets.find(sid) else { return };
        let Some(socket) = self.sockets.get_mut(id) else { return };
        match handle(socket, &self.context) {
            Ok(true) => self.rooms.unblock(id, &mut self.sockets),
            Ok(false) => {}
            Err(violation) => self.close_now(id, violation),
        }
    }

    /// Handles posted packets. Sends on `respond` once more packets may be posted; drops it if the packets
    /// violate the protocol.
    pub fn post(&mut self, sid: Sid, body: String, posting: Posting, respond: oneshot::Sender<()>) {
        let (Some(id), Some(worker)) = (self.sockets.find(sid), self.me.upgrade()) else { return };
        let Some(socket) = self.sockets.get_mut(id) else { return };
        if !socket.transport().is_polling() {
            return;
        }
        socket.stats_mut().count_received(body.len());
        self.received.increment(body.len() as u64);
        tokio::task::spawn_local(async move {
            if handle_packets(worker, id, body).await.is_some() {
                // Dropped before the response, because the next request may follow at once.
                drop(posting);
                // The client may have hung up.
                let _ = respond.send(());
            }
        });
    }

    /// Removes a session whose client aborted a request: packets of the request or of its response may be lost.
    /// The reference does the same. After an upgrade the session no longer depends on requests.
    pub fn aborted(&mut self, sid: Sid) {
        let Some(id) = self.sockets.find(sid) else { return };
        if self.sockets.get(id).is_some_and(|socket| socket.transport().is_polling()) {
            self.remove(id, None);
        }
    }

    /// Closes a session, and removes it without waiting for another request of its client.
    pub fn close_now(&mut self, id: SocketId, Violation { code, reason }: Violation) {
        metrics::counter!("chat_gateway_violations_total").increment(1);
        self.close(id, code, reason);
        self.flush_socket(id);
        self.remove(id, None);
    }

    /// Starts the upgrade of a session to a WebSocket.
    pub fn upgrade(&mut self, sid: Sid, stream: std::net::TcpStream, received: &Bytes) {
        let stream = match TcpStream::from_std(stream) {
            Ok(stream) => Rc::new(stream),
            Err(error) => return tracing::error!(%error, "a connection cannot be taken over"),
        };
        let id = self.sockets.find(sid);
        let (Some(id), Some(worker)) = (id, self.me.upgrade()) else {
            return refuse(stream, NO_SESSION);
        };
        let Some(socket) = self.sockets.get_mut(id) else { return refuse(stream, NO_SESSION) };
        if !socket.transport_mut().begin_upgrade() {
            return refuse(stream, NO_SESSION);
        }
        // The packets of the upgrade are a few bytes long, but longer ones may follow directly.
        let mut decoder = Decoder::new(self.context.max_message(socket.is_limited()));
        decoder.feed(received);
        let within = self.context.rules.limits.step();
        tokio::task::spawn_local(async move {
            let probed = probe(&worker, id, &stream, &mut decoder);
            let failure = match tokio::time::timeout(within, probed).await {
                Ok(Ok(())) => return worker.borrow_mut().upgraded(id, stream, decoder),
                Ok(Err(ProbeError::Violation(violation))) => {
                    metrics::counter!("chat_gateway_violations_total").increment(1);
                    violation
                }
                Ok(Err(ProbeError::GaveUp)) | Err(_) => NO_SESSION,
            };
            refuse(stream, failure);
            if let Some(socket) = worker.borrow_mut().sockets.get_mut(id) {
                socket.transport_mut().cancel_upgrade();
            }
        });
    }

    fn upgraded(&mut self, id: SocketId, stream: Rc<TcpStream>, decoder: Decoder) {
        let Some(socket) = self.sockets.get_mut(id) else { return refuse(stream, NO_SESSION) };
        let before = socket.transport().name();
        let mut transport = Transport::websocket(stream.clone());
        transport.set_reader(receive::spawn_reader(self.me.clone(), id, stream));
        metrics::gauge!("chat_gateway_sockets", "transport" => before).decrement(1);
        metrics::gauge!("chat_gateway_sockets", "transport" => transport.name()).increment(1);
        self.rooms.unblock(id, &mut self.sockets);
        if let Some(socket) = self.sockets.get_mut(id) {
            // A poll that still waits is dropped: the client declared that it has stopped polling.
            socket.upgrade(transport, decoder);
            socket.limit_messages(|is_limited| self.context.max_message(is_limited));
        }
        // Handles packets that arrived together with the last packet of the upgrade.
        self.on_bytes(id, &[]);
    }
}

/// Handles the packets of a body. None if they violated the protocol or the session ended.
async fn handle_packets(worker: SharedWorker, id: SocketId, body: String) -> Option<()> {
    for (nth, message) in payload::decode(&body).enumerate() {
        if nth % PACKETS_AT_ONCE == PACKETS_AT_ONCE - 1 {
            tokio::task::yield_now().await;
        }
        let handled = worker.borrow_mut().on_message(id, message);
        if let Err(violation) = handled {
            worker.borrow_mut().close_now(id, violation);
            return None;
        }
        let mut pause = worker.borrow_mut().sockets.pause(id);
        while let Some(reason) = pause {
            reason.over().await.ok()?;
            pause = worker.borrow_mut().sockets.pause(id);
        }
    }
    Some(())
}

/// Closes a WebSocket that may not take over a session, with a close frame.
fn refuse(stream: Rc<TcpStream>, violation: Violation) {
    tokio::task::spawn_local(async move {
        // The client may be gone already.
        let _ = tokio::time::timeout(REFUSE_WITHIN, send_close(&stream, violation)).await;
    });
}

/// Sends a close frame and ends the sending side. Then discards what the client still sends: closing a connection
/// with unread bytes resets it, and the client may lose the frame.
async fn send_close(stream: &TcpStream, Violation { code, reason }: Violation) -> io::Result<()> {
    // A new stream must be awaited to be writable before the first write.
    stream.writable().await?;
    stream.try_write(&ws::close(code, reason))?;
    socket2::SockRef::from(stream).shutdown(Shutdown::Write)?;
    let mut chunk = [0; 1024];
    for _ in 0..DISCARDED_READS {
        stream.readable().await?;
        match stream.try_read(&mut chunk) {
            Ok(0) => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

/// Why an upgrade did not complete.
enum ProbeError {
    Violation(Violation),
    /// The client closed the connection, or the session ended.
    GaveUp,
}

impl From<Violation> for ProbeError {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl From<io::Error> for ProbeError {
    fn from(_: io::Error) -> Self {
        Self::GaveUp
    }
}

/// Exchanges the packets of an upgrade: `2probe`, `3probe`, and `5` once the client has stopped polling.
async fn probe(
    worker: &SharedWorker,
    id: SocketId,
    stream: &TcpStream,
    decoder: &mut Decoder,
) -> Result<(), ProbeError> {
    let mut release = interval_at(Instant::now() + RELEASE_EVERY, RELEASE_EVERY);
    release.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut is_probed, mut chunk) = (false, [0; 1024]);
    loop {
        while let Some(message) = decoder.message()? {
            let Message::Text(text) = message else {
                return Err(ProbeError::Violation(NO_SESSION));
            };
            match EnginePacket::parse(&text)? {
                EnginePacket::Ping("probe") if !is_probed => {
                    is_probed = true;
                    stream.writable().await?;
                    stream.try_write(&ws::text(&["3probe"]))?;
                }
                EnginePacket::Upgrade if is_probed => return Ok(()),
                _ => return Err(ProbeError::Violation(NO_SESSION)),
            }
        }
        tokio::select! {
            readable = stream.readable() => {
                readable?;
                match stream.try_read(&mut chunk) {
                    Ok(0) => return Err(ProbeError::GaveUp),
                    Ok(count) => decoder.feed(&chunk[..count]),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error.into()),
                }
            }
            _ = release.tick(), if is_probed => {
                let mut worker = worker.borrow_mut();
                let socket = worker.sockets.get_mut(id).ok_or(ProbeError::GaveUp)?;
                if !socket.transport_mut().release_poll() {
                    return Err(ProbeError::GaveUp);
                }
            }
        }
    }
}
