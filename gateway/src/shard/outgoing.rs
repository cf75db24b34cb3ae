//! What a socket sends to be stored: one after the other, so that order is kept, with the
//! acknowledgements of JetStream awaited side by side.

use std::{cell::RefCell, collections::VecDeque, rc::Rc, time::Instant};

use bytes::Bytes;
use protocol::{Code, FileId, RoomId, code::Refusal, event::Done, stored::StoredEvent};
use service::{
    roomlog::{LogError, Pending},
    trace::TraceParent,
};

use super::{SocketId, state::Shard};
use crate::bus::{self, Bus};

/// Events of one socket that are not acknowledged yet; a socket with more is not read from.
const IN_FLIGHT: usize = 64;

/// An event on its way to the stream.
#[derive(Debug)]
pub struct Send {
    pub room: RoomId,
    /// What JetStream dedupes by.
    pub id: String,
    pub event: StoredEvent,
    /// Looked up and put into the event before it is stored.
    pub file: Option<FileId>,
    pub ack: Option<u64>,
}

/// A socket's events that are not acknowledged yet.
#[derive(Debug, Default)]
pub struct Outgoing {
    waiting: VecDeque<Send>,
    in_flight: usize,
    /// A task takes from `waiting`.
    running: bool,
}

impl Outgoing {
    /// No more should be read from the socket.
    pub fn is_full(&self) -> bool {
        self.waiting.len() + self.in_flight >= IN_FLIGHT
    }
}

impl Shard {
    /// Stores an event after all that the socket sent before.
    pub fn store(&mut self, socket: SocketId, send: Send) {
        let shard = self.me();
        let Some(state) = self.socket(socket) else { return };
        state.outgoing.waiting.push_back(send);
        if !state.outgoing.running {
            state.outgoing.running = true;
            if let Some(shard) = shard {
                tokio::task::spawn_local(publish_all(shard, socket));
            }
        }
    }

    fn next_to_store(&mut self, socket: SocketId) -> Option<Send> {
        let outgoing = &mut self.socket(socket)?.outgoing;
        let next = outgoing.waiting.pop_front();
        outgoing.running = next.is_some();
        outgoing.in_flight += usize::from(next.is_some());
        next
    }

    fn stored(&mut self, socket: SocketId, ack: Option<u64>, outcome: Result<Done, Refusal>) {
        if let Some(state) = self.socket(socket) {
            state.outgoing.in_flight -= 1;
            self.acknowledge(socket, ack, outcome);
            self.mark_dirty(socket);
        }
    }
}

async fn publish_all(shard: Rc<RefCell<Shard>>, socket: SocketId) {
    let bus = shard.borrow().context().bus.clone();
    loop {
        let Some(mut send) = shard.borrow_mut().next_to_store(socket) else { return };
        let started = Instant::now();
        let queued = match fill_in_file(&bus, &mut send).await {
            Ok(()) => queue(&bus, &send).await,
            Err(refusal) => Err(refusal),
        };
        match queued {
            Ok(pending) => {
                tokio::task::spawn_local(acknowledge(
                    shard.clone(),
                    socket,
                    send,
                    pending,
                    started,
                ));
            }
            Err(refusal) => shard.borrow_mut().stored(socket, send.ack, Err(refusal)),
        }
    }
}

async fn queue(bus: &Bus, send: &Send) -> Result<Pending, Refusal> {
    let payload = Bytes::from(send.event.encode());
    let trace = Some(TraceParent::root());
    bus.log().append(send.room, &send.id, payload, trace).await.map_err(|error| refusal(&error))
}

async fn fill_in_file(bus: &Bus, send: &mut Send) -> Result<(), Refusal> {
    let (Some(id), StoredEvent::ReceiveMsg(message)) = (send.file, &mut send.event) else {
        return Ok(());
    };
    let found = bus.file(send.room, id).await.map_err(|error| refusal(&error))?;
    let missing =
        Refusal::new(Code::NoSuchFile, "there is no complete file of that id in the room");
    message.file = Some(found.ok_or(missing)?);
    Ok(())
}

async fn acknowledge(
    shard: Rc<RefCell<Shard>>,
    socket: SocketId,
    send: Send,
    pending: Pending,
    started: Instant,
) {
    let bus = shard.borrow().context().bus.clone();
    let outcome = match pending.stored().await {
        Ok(appended) => bus::settle(&bus, send.room, appended, send.event.at()).await,
        Err(error) => Err(error),
    };
    metrics::histogram!("gateway_store_seconds").record(started.elapsed());
    shard.borrow_mut().stored(socket, send.ack, outcome.map_err(|error| refusal(&error)));
}

fn refusal(error: &LogError) -> Refusal {
    match error {
        LogError::Full => {
            Refusal::new(Code::StorageFull, "nothing can be stored right now; try again later")
        }
        LogError::Unavailable(reason) => {
            tracing::warn!(%reason, "an event was not confirmed as stored");
            Refusal::new(
                Code::Unavailable,
                "it is not known whether it was stored; send it again with the same id",
            )
        }
    }
}
