//! Commands to a worker, and the workers' inboxes.

use std::{
    net::TcpStream,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use bytes::Bytes;
use protocol::{
    RoomId, Seq, Timestamp, UserId,
    code::Refusal,
    event::Done,
    subject::{MemberState, Revoked},
};
use service::{admission::Admitted, trace::TraceParent};
use tokio::sync::{mpsc, oneshot};

use crate::{
    batch::Batch,
    wire::sid::{Sid, SocketId},
};

/// Commands that wait for one worker. A sender waits while the inbox is full.
const INBOX: usize = 4_096;

/// Data of a new connection that the HTTP side passes to its worker.
#[derive(Debug)]
pub struct Opening {
    /// Counts the socket towards the limit of its address; none if that limit is switched off.
    pub admitted: Option<Admitted>,
    /// The connection was made to `/engine.io/`, which echoes Engine.IO messages (`CONFORMANCE_ECHO`).
    pub engine_echo: bool,
    /// The trace of the client, if spans are exported.
    pub trace: Option<TraceParent>,
}

/// A token held by the one request that may post a session's packets. Only one, because the body of every
/// concurrent request would be buffered.
#[derive(Debug)]
pub struct Posting(#[expect(dead_code, reason = "only its lifetime is observed")] Arc<()>);

impl Posting {
    /// Returns a token, and a weak reference that shows whether it still exists.
    pub fn new() -> (Self, Weak<()>) {
        let token = Arc::new(());
        let observer = Arc::downgrade(&token);
        (Self(token), observer)
    }
}

/// A room's answer to a join that succeeded.
#[derive(Debug)]
pub struct Joined {
    pub socket: SocketId,
    pub room: RoomId,
    pub user: UserId,
    /// The room's newest event at the time of the join: delivery continues after it.
    pub last: Seq,
    /// The events that the socket missed, as slices of the room's batches.
    pub replay: Vec<Bytes>,
    pub ack: Option<u64>,
    pub done: Done,
}

/// A command to a worker.
#[derive(Debug)]
pub enum WorkerCommand {
    /// A WebSocket was accepted. `received` are the bytes that arrived together with its handshake.
    Accept { opening: Opening, stream: TcpStream, received: Bytes },
    /// A long-polling session begins.
    OpenPolling { opening: Opening, respond: oneshot::Sender<Bytes> },
    /// A request polls for packets. `respond` is dropped, here and in the next four, if the session is
    /// unknown.
    Poll { sid: Sid, respond: oneshot::Sender<Bytes> },
    /// A request asks to post packets. The response contains the maximum length of its body.
    BeginPost { sid: Sid, respond: oneshot::Sender<(Posting, usize)> },
    /// A request posts packets.
    Post { sid: Sid, body: String, posting: Posting, respond: oneshot::Sender<()> },
    /// The client aborted a request of its session.
    Aborted { sid: Sid },
    /// Checks whether a session exists.
    Find { sid: Sid, respond: oneshot::Sender<()> },
    /// A WebSocket asks to take over a long-polling session.
    Upgrade { sid: Sid, stream: TcpStream, received: Bytes },
    /// A room accepted a join.
    Joined(Joined),
    /// A room refused a join.
    JoinRefused { socket: SocketId, room: RoomId, ack: Option<u64>, refusal: Refusal },
    /// Frames for all sockets in a room.
    Deliver { room: RoomId, batch: Batch },
    /// A frame for one user's sockets in a room.
    DeliverTo { room: RoomId, user: UserId, frame: Bytes },
    /// A user's membership in a room changed.
    Member { room: RoomId, user: UserId, state: MemberState },
    /// A room's events can no longer be delivered without a gap: all its sockets must join again.
    Lag { room: RoomId },
    /// The last frames of a room that was deleted.
    Close { room: RoomId, batch: Batch },
    /// A login session or an account was revoked.
    Revoked(Revoked),
    /// Revocations may have been missed: all sockets must join their rooms again with new tickets. Sockets that
    /// presented their token before `shown_before` must connect again.
    Reauthenticate { shown_before: Option<Instant> },
    /// Starts the drain: asks all sockets to migrate, then closes the remaining ones after `within`.
    Drain { deadline: Timestamp, within: Duration },
}

/// Receives one worker's commands.
pub type WorkerInbox = mpsc::Receiver<WorkerCommand>;

/// Sends commands to the workers.
#[derive(Clone)]
pub struct Workers(Arc<[mpsc::Sender<WorkerCommand>]>);

impl Workers {
    /// The inboxes of `count` workers.
    pub fn new(count: usize) -> (Self, Vec<WorkerInbox>) {
        let (senders, inboxes): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::channel(INBOX)).unzip();
        (Self(senders.into()), inboxes)
    }

    /// The number of workers.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Sends to one worker, waiting while its inbox is full.
    pub async fn send(&self, worker: usize, command: WorkerCommand) {
        if let Some(sender) = self.0.get(worker) {
            // A worker ends only with the process.
            let _ = sender.send(command).await;
        }
    }

    /// Sends to all workers.
    pub async fn send_all(&self, command: impl Fn() -> WorkerCommand) {
        for worker in 0..self.count() {
            self.send(worker, command()).await;
        }
    }
}
