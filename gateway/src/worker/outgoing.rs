//! What a socket sends to be stored: one after the other, so that order is kept, with the
//! acknowledgements of JetStream awaited side by side.

use std::{
    cell::RefCell,
    collections::VecDeque,
    rc::Rc,
    time::{Duration, Instant},
};

use protocol::{
    Code, RoomId, Seq, UserId,
    code::Refusal,
    event::{Done, Stored},
    limits,
    message_lookup::FirstStored,
    stored::StoredEvent,
};
use service::{
    roomlog::{LogError, Pending, PendingEvent},
    trace::TraceParent,
};

use tokio::sync::oneshot;

use super::{SocketId, state::Worker};
use crate::{
    bus::Bus, command::RoomCommand, ephemeral::EphemeralEvent, memory::Reservation, room::Rooms,
    session::Needs,
};

/// Events of one socket that are not acknowledged yet; a socket with more is not read from.
const IN_FLIGHT: usize = 64;
/// The same in bytes: long ones are held until NATS took them.
const BYTES_IN_FLIGHT: usize = 256 * 1024;

/// How long a room may take to say whether a message may get a reaction.
const ROOM_ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// Something on its way to NATS.
#[derive(Debug)]
pub struct Send {
    pub room: RoomId,
    pub what: What,
    pub ack: Option<u64>,
}

/// What is sent.
#[derive(Debug)]
pub enum What {
    /// An event for the stream; `id` is what JetStream dedupes by, `look_up` whether that may be too
    /// late.
    Event { id: String, event: StoredEvent, needs: Needs, look_up: bool },
    /// How far a user has read: stored for the archive, then told.
    Read { user: UserId, seq: Seq },
    /// Told and not stored.
    Ephemeral(EphemeralEvent),
}

impl Send {
    /// About how much memory it takes.
    fn size(&self) -> usize {
        let text = match &self.what {
            What::Event { event: StoredEvent::ReceiveMsg(message), .. } => message.msg.as_str(),
            What::Event { event: StoredEvent::MsgEdited { msg, .. }, .. }
            | What::Event { event: StoredEvent::RoomBroadcast { msg, .. }, .. } => msg.as_str(),
            What::Ephemeral(EphemeralEvent::Signal { data, .. }) => data.get(),
            What::Event { .. } | What::Read { .. } | What::Ephemeral(_) => "",
        };
        size_of::<Self>() + text.len()
    }
}

/// A socket's events that are not acknowledged yet.
#[derive(Debug)]
pub struct Outgoing {
    waiting: VecDeque<Send>,
    in_flight: usize,
    /// Of all of them.
    bytes: usize,
    held: Reservation,
    /// A task takes from `waiting`.
    running: bool,
}

impl Outgoing {
    /// None, with a reservation for those to come.
    pub fn new(held: Reservation) -> Self {
        Self { waiting: VecDeque::new(), in_flight: 0, bytes: 0, held, running: false }
    }

    /// Nothing is on its way.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.in_flight == 0
    }

    /// How many have not even been published.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// No more should be read from the socket.
    pub fn is_full(&self) -> bool {
        self.waiting.len() + self.in_flight >= IN_FLIGHT || self.bytes >= BYTES_IN_FLIGHT
    }
}

impl Worker {
    /// Sends something after all that the socket sent before.
    pub fn send(&mut self, socket: SocketId, send: Send) {
        let worker = self.me.upgrade();
        let meter = self.meters.outgoing.clone();
        let Some(state) = self.socket(socket) else { return };
        let bytes = state.outgoing.bytes + send.size();
        if state.outgoing.held.try_follow(bytes).is_err() {
            let refusal = Refusal::new(Code::Busy, "the gateway's memory is short; try again");
            return self.acknowledge(socket, send.ack, Err(refusal));
        }
        state.outgoing.bytes = bytes;
        state.outgoing.waiting.push_back(send);
        meter.increment(1.0);
        if !state.outgoing.running {
            state.outgoing.running = true;
            if let Some(worker) = worker {
                tokio::task::spawn_local(publish_all(worker, socket));
            }
        }
    }

    fn next_to_send(&mut self, socket: SocketId) -> Option<Send> {
        let outgoing = &mut self.socket(socket)?.outgoing;
        let next = outgoing.waiting.pop_front();
        outgoing.running = next.is_some();
        outgoing.in_flight += usize::from(next.is_some());
        next
    }

    fn sent(
        &mut self,
        socket: SocketId,
        size: usize,
        ack: Option<u64>,
        outcome: Result<Done, Refusal>,
    ) {
        self.meters.outgoing.decrement(1.0);
        if let Some(state) = self.socket(socket) {
            state.outgoing.in_flight -= 1;
            state.outgoing.bytes -= size;
            // Less than before is never refused.
            let _ = state.outgoing.held.try_follow(state.outgoing.bytes);
            self.acknowledge(socket, ack, outcome);
            self.mark_dirty(socket);
        }
    }
}

async fn publish_all(worker: Rc<RefCell<Worker>>, socket: SocketId) {
    let bus = worker.borrow().context().bus.clone();
    let rooms = worker.borrow().context().rooms.clone();
    loop {
        let Some(send) = worker.borrow_mut().next_to_send(socket) else { return };
        let size = send.size();
        let Send { room, what, ack } = send;
        let started = Instant::now();
        let queued = match what {
            What::Event { id, event, needs, look_up } => {
                let earlier = if look_up { earlier(&bus, room, &event).await } else { Ok(None) };
                match earlier {
                    Ok(Some(first)) => {
                        worker.borrow_mut().sent(socket, size, ack, Ok(Done::Stored(first)));
                        continue;
                    }
                    Ok(None) => {
                        queue(&bus, &rooms, room, &id, event, needs).await.map(Waiting::Event)
                    }
                    Err(refusal) => Err(refusal),
                }
            }
            What::Read { user, seq } => bus
                .store_read(room, user, seq)
                .await
                .map(|pending| Waiting::Read(pending, user, seq))
                .map_err(|error| refusal(&error)),
            What::Ephemeral(live) => {
                bus.tell(room, &live).await;
                worker.borrow_mut().sent(socket, size, ack, Ok(Done::EMPTY));
                continue;
            }
        };
        match queued {
            Ok(waiting) => {
                let (worker, bus) = (worker.clone(), bus.clone());
                tokio::task::spawn_local(async move {
                    let outcome = waiting.done(&bus, room).await;
                    metrics::histogram!("gateway_store_seconds").record(started.elapsed());
                    let outcome = outcome.map_err(|error| refusal(&error));
                    worker.borrow_mut().sent(socket, size, ack, outcome);
                });
            }
            Err(refusal) => worker.borrow_mut().sent(socket, size, ack, Err(refusal)),
        }
    }
}

/// Where an earlier try of a message was stored.
async fn earlier(bus: &Bus, room: RoomId, event: &StoredEvent) -> Result<Option<Stored>, Refusal> {
    let StoredEvent::ReceiveMsg(message) = event else { return Ok(None) };
    let first = bus.sent(room, message.from.id, message.id).await;
    let first = first.map_err(|error| refusal(&error))?;
    Ok(first.map(|FirstStored { seq, at }| Stored { seq, at, duplicate: true }))
}

async fn queue(
    bus: &Bus,
    rooms: &Rooms,
    room: RoomId,
    id: &str,
    mut event: StoredEvent,
    needs: Needs,
) -> Result<PendingEvent, Refusal> {
    check_reaction(rooms, room, &event).await?;
    look_up(bus, room, &mut event, needs).await?;
    let trace = Some(TraceParent::root());
    bus.log().append_event(room, id, &event, trace).await.map_err(|error| refusal(&error))
}

/// Refuses a reaction of one kind too many, as far as the room's events that were delivered here tell.
/// The archive, which knows all of them, keeps no more either.
async fn check_reaction(rooms: &Rooms, room: RoomId, event: &StoredEvent) -> Result<(), Refusal> {
    let StoredEvent::Reaction { target, emoji, on: true, .. } = event else { return Ok(()) };
    let (respond, answer) = oneshot::channel();
    let ask = RoomCommand::CheckReaction { target: *target, emoji: emoji.clone(), respond };
    if rooms.send(room, ask).is_err() {
        return Err(Refusal::new(Code::Busy, "the room is busy; try again"));
    }
    // A room that is busy for long, or has just ended, does not know.
    match tokio::time::timeout(ROOM_ANSWERS_WITHIN, answer).await {
        Ok(Ok(false)) => {
            let detail = format!(
                "a message has at most {} kinds of reactions; use one of those that are there",
                limits::REACTION_KINDS
            );
            Err(Refusal::new(Code::TooManyReactions, detail))
        }
        _ => Ok(()),
    }
}

async fn look_up(
    bus: &Bus,
    room: RoomId,
    event: &mut StoredEvent,
    needs: Needs,
) -> Result<(), Refusal> {
    match (needs, event) {
        (Needs::File(id), StoredEvent::ReceiveMsg(message)) => {
            let found = bus.file(room, id).await.map_err(|error| refusal(&error))?;
            let missing =
                Refusal::new(Code::NoSuchFile, "there is no complete file of that id in the room");
            message.file = Some(found.ok_or(missing)?);
            Ok(())
        }
        (Needs::Message { seq, author }, _) => {
            let found = bus.log().event(room, seq).await.map_err(|error| refusal(&error))?;
            match (found, author) {
                (Some(StoredEvent::ReceiveMsg(message)), Some(author))
                    if message.from.id != author =>
                {
                    Err(Refusal::new(Code::Forbidden, "the message is somebody else's"))
                }
                (Some(StoredEvent::ReceiveMsg(_)), _) => Ok(()),
                _ => Err(Refusal::new(
                    Code::NoSuchMessage,
                    "there is no message at that seq, or it is too old to be changed",
                )),
            }
        }
        (Needs::Nothing | Needs::File(_), _) => Ok(()),
    }
}

/// What JetStream has yet to acknowledge.
enum Waiting {
    Event(PendingEvent),
    Read(Pending, UserId, Seq),
}

impl Waiting {
    async fn done(self, bus: &Bus, room: RoomId) -> Result<Done, LogError> {
        match self {
            Self::Event(event) => bus.log().stored(event).await.map(Done::Stored),
            Self::Read(pending, user, seq) => {
                pending.stored().await?;
                bus.tell(room, &EphemeralEvent::Read { user, seq }).await;
                Ok(Done::EMPTY)
            }
        }
    }
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
