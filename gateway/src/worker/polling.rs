//! HTTP long-polling: requests that wait for packets, requests that bring some, and the WebSocket
//! that takes over from them.

use std::{rc::Rc, time::Duration};

use bytes::Bytes;
use tokio::{
    net::TcpStream,
    sync::oneshot,
    time::{Instant, MissedTickBehavior, interval_at},
};

use super::{
    SocketId,
    connection::SharedWorker,
    receive::Pause,
    socket::{Socket, Transport},
    state::Worker,
};
use crate::{
    command::{Opening, Posting},
    wire::packet::EnginePacket,
    wire::payload,
    wire::sid::Sid,
    wire::ws::{self, Decoder, Message, Violation, protocol_error},
};

/// Answers a poll that waits while its client wants to change to the WebSocket.
const NOOP: Bytes = Bytes::from_static(b"6");
/// A poll that waits during the change is answered this soon.
const RELEASE_EVERY: Duration = Duration::from_millis(100);
/// Packets of one request that are taken before the other sockets get their turn.
const PACKETS_AT_ONCE: usize = 64;
/// How long a WebSocket that may not take over is kept to be told so.
const TURN_AWAY_WITHIN: Duration = Duration::from_secs(1);

impl Worker {
    /// The socket of an id, if it is one of ours and still there.
    pub fn find(&mut self, sid: Sid) -> Option<SocketId> {
        let socket = self.socket(sid.socket)?;
        (socket.secret == sid.secret).then_some(sid.socket)
    }

    /// Opens a session over HTTP; the answer is its first packet.
    pub fn open_polling(&mut self, opening: Opening, respond: oneshot::Sender<Bytes>) {
        let transport = Transport::Polling { waiting: Some(respond), upgrading: false };
        self.open(opening, transport);
    }

    /// Takes a request that waits for packets. A second one at a time breaks the protocol. Without
    /// such a session the request is dropped.
    pub fn poll(&mut self, sid: Sid, respond: oneshot::Sender<Bytes>) {
        let Some(id) = self.find(sid) else { return };
        let Some(Transport::Polling { waiting, .. }) = self.transport(id) else { return };
        if waiting.as_ref().is_some_and(|poll| !poll.is_closed()) {
            return self.close_now(id, protocol_error("two polls at once"));
        }
        *waiting = Some(respond);
        self.set_blocked(id, false);
        self.mark_rooms_dirty(id);
        self.mark_dirty(id);
    }

    /// Lets a request bring packets, before its body is read; answered with how many bytes it may
    /// have. A second one at a time breaks the protocol. Without such a session the request is dropped.
    pub fn begin_post(&mut self, sid: Sid, respond: oneshot::Sender<(Posting, usize)>) {
        let Some(id) = self.find(sid) else { return };
        let limit = self.message_limit(id);
        let Some(socket) = self.socket(id) else { return };
        if !matches!(socket.transport, Transport::Polling { .. }) {
            return;
        }
        if socket.posting.strong_count() > 0 {
            return self.close_now(id, protocol_error("two posts at once"));
        }
        let (posting, observer) = Posting::new();
        socket.posting = observer;
        // Its client may have hung up.
        let _ = respond.send((posting, limit));
    }

    /// Takes packets. `respond` is answered once more may come, and dropped if they were none.
    pub fn post(&mut self, sid: Sid, body: String, posting: Posting, respond: oneshot::Sender<()>) {
        let (Some(id), Some(worker)) = (self.find(sid), self.me.upgrade()) else { return };
        let Some(socket) = self.socket(id) else { return };
        if !matches!(socket.transport, Transport::Polling { .. }) {
            return;
        }
        socket.heard(body.len());
        self.meters.received.increment(body.len() as u64);
        tokio::task::spawn_local(async move {
            for (nth, message) in payload::decode(&body).enumerate() {
                if nth % PACKETS_AT_ONCE == PACKETS_AT_ONCE - 1 {
                    tokio::task::yield_now().await;
                }
                let taken = message.and_then(|message| worker.borrow_mut().on_message(id, message));
                if let Err(violation) = taken {
                    return worker.borrow_mut().close_now(id, violation);
                }
                let mut pause = worker.borrow_mut().pause(id);
                while !matches!(pause, Pause::No) {
                    if pause.over().await.is_err() {
                        return;
                    }
                    pause = worker.borrow_mut().pause(id);
                }
            }
            // Before the answer, after which the next request may come.
            drop(posting);
            // Its client may have hung up.
            let _ = respond.send(());
        });
    }

    fn transport(&mut self, id: SocketId) -> Option<&mut Transport> {
        self.socket(id).map(|socket| &mut socket.transport)
    }

    /// Closes a session whose client cannot be told later.
    pub fn close_now(&mut self, id: SocketId, Violation { code, reason }: Violation) {
        metrics::counter!("gateway_violations_total").increment(1);
        self.close(id, code, reason);
        self.flush_socket(id);
        self.remove(id);
    }

    /// Answers a waiting poll with nothing. False once there is no such session.
    pub fn release_poll(&mut self, id: SocketId) -> bool {
        let Some(Transport::Polling { waiting, .. }) = self.transport(id) else { return false };
        if let Some(poll) = waiting.take() {
            // Its client may have hung up.
            let _ = poll.send(NOOP);
        }
        true
    }

    /// Takes a WebSocket that wants to take over a session.
    pub fn upgrade(&mut self, sid: Sid, stream: std::net::TcpStream, received: &Bytes) {
        let stream = match TcpStream::from_std(stream) {
            Ok(stream) => Rc::new(stream),
            Err(error) => return tracing::error!(%error, "a socket cannot be taken over"),
        };
        let worker = self.me.upgrade();
        let id = self.find(sid);
        let (Some(id), Some(worker)) = (id, worker) else { return turn_away(stream) };
        let Some(Transport::Polling { upgrading: upgrading @ false, .. }) = self.transport(id)
        else {
            return turn_away(stream);
        };
        *upgrading = true;
        // The packets of the change are a few bytes long; longer ones may come right behind them.
        let (within, limit) = (self.context().rules.limits.step(), self.message_limit(id));
        let mut decoder = Decoder::new(limit);
        decoder.feed(received);
        tokio::task::spawn_local(async move {
            let probed = probe(&worker, id, &stream, &mut decoder);
            let probed = tokio::time::timeout(within, probed).await.ok().flatten();
            let mut worker = worker.borrow_mut();
            match probed {
                Some(()) => worker.upgraded(id, stream, decoder),
                None => {
                    turn_away(stream);
                    if let Some(Transport::Polling { upgrading, .. }) = worker.transport(id) {
                        *upgrading = false;
                    }
                }
            }
        });
    }

    fn upgraded(&mut self, id: SocketId, stream: Rc<TcpStream>, decoder: Decoder) {
        let Some(socket) = self.socket(id) else { return turn_away(stream) };
        let before = socket.transport.name();
        // A poll that still waits is refused: its client said that it stopped to poll.
        socket.transport = Transport::WebSocket { stream: stream.clone(), reader: None };
        if !socket.is_closing() {
            socket.decoder = decoder;
        }
        metrics::gauge!("gateway_sockets", "transport" => before).decrement(1);
        metrics::gauge!("gateway_sockets", "transport" => socket.transport.name()).increment(1);
        self.apply_message_limit(id);
        self.listen(id, stream);
        self.set_blocked(id, false);
        self.mark_rooms_dirty(id);
        self.mark_dirty(id);
        // What came right behind the last packet of the change.
        self.on_bytes(id, &[]);
    }
}

/// Closes a WebSocket that may not take over. A new one is not known to be writable before it was
/// waited for.
fn turn_away(stream: Rc<TcpStream>) {
    tokio::task::spawn_local(async move {
        if let Ok(Ok(())) = tokio::time::timeout(TURN_AWAY_WITHIN, stream.writable()).await {
            // It may be gone already.
            let _ = stream.try_write(&ws::close(1008, "no session to take over"));
        }
    });
}

/// The change of transports: `2probe`, `3probe`, and `5` once the client has stopped to poll.
async fn probe(
    worker: &SharedWorker,
    id: SocketId,
    stream: &TcpStream,
    decoder: &mut Decoder,
) -> Option<()> {
    let mut release = interval_at(Instant::now() + RELEASE_EVERY, RELEASE_EVERY);
    release.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut is_probed, mut chunk) = (false, [0; 1024]);
    loop {
        while let Some(message) = decoder.message().ok()? {
            let Message::Text(text) = message else { return None };
            match EnginePacket::parse(&text).ok()? {
                EnginePacket::Ping("probe") if !is_probed => {
                    is_probed = true;
                    stream.writable().await.ok()?;
                    stream.try_write(&ws::text(&["3probe"])).ok()?;
                }
                EnginePacket::Upgrade if is_probed => return Some(()),
                _ => return None,
            }
        }
        tokio::select! {
            readable = stream.readable() => {
                readable.ok()?;
                match stream.try_read(&mut chunk) {
                    Ok(0) => return None,
                    Ok(count) => decoder.feed(&chunk[..count]),
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(_) => return None,
                }
            }
            _ = release.tick(), if is_probed => {
                if !worker.borrow_mut().release_poll(id) {
                    return None;
                }
            }
        }
    }
}

impl Socket {
    /// Notes that something came from the peer.
    pub fn heard(&mut self, bytes: usize) {
        self.last_heard = std::time::Instant::now();
        self.life.received += bytes as u64;
    }
}
