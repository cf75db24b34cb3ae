//! Publishing of events to NATS. The events of one socket are published one after the other, to keep their
//! order; JetStream's acknowledgements are awaited concurrently.

use std::time::{Duration, Instant};

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
    trace::{Span, TraceParent},
};
use tokio::sync::oneshot;

use super::{SharedWorker, Worker};
use crate::{
    bus::Bus,
    command::RoomCommand,
    ephemeral::EphemeralEvent,
    room::Rooms,
    session::Needs,
    wire::sid::SocketId,
    worker::socket::{OutgoingEvent, OutgoingItem},
};

/// Timeout of [`RoomCommand::CheckReaction`].
const ROOM_ANSWERS_WITHIN: Duration = Duration::from_secs(1);

impl Worker {
    /// Publishes an event after all earlier events of the socket.
    pub fn publish(&mut self, id: SocketId, item: OutgoingItem) {
        if self.sockets.queue_event(id, item)
            && let Some(worker) = self.me.upgrade()
        {
            tokio::task::spawn_local(publish_all(worker, id));
        }
    }
}

/// Publishes the queued events of a socket.
async fn publish_all(worker: SharedWorker, id: SocketId) {
    let (bus, rooms) = {
        let worker = worker.borrow();
        (worker.context.bus.clone(), worker.context.rooms.clone())
    };
    loop {
        let next = worker.borrow_mut().sockets.get_mut(id).and_then(|s| s.publishing_mut().next());
        let Some(item) = next else { return };
        let size = item.size();
        let OutgoingItem { room, event, ack, mut span } = item;
        let trace = span.as_ref().map(Span::parent);
        let started = Instant::now();
        match submit(&bus, &rooms, room, event, trace).await {
            Ok(Submitted::Pending(pending)) => {
                let (worker, bus) = (worker.clone(), bus.clone());
                tokio::task::spawn_local(async move {
                    let outcome = pending.acknowledged(&bus, room).await;
                    metrics::histogram!("chat_gateway_store_seconds").record(started.elapsed());
                    let outcome = outcome.map_err(|error| refusal(&error));
                    end(span, outcome.as_ref().err());
                    worker.borrow_mut().sockets.finish_event(id, size, ack, outcome);
                });
            }
            Ok(Submitted::Done(done)) => {
                worker.borrow_mut().sockets.finish_event(id, size, ack, Ok(done))
            }
            Err(refusal) => {
                end(span.take(), Some(&refusal));
                worker.borrow_mut().sockets.finish_event(id, size, ack, Err(refusal));
            }
        }
    }
}

/// Ends the span of an event.
fn end(span: Option<Span>, refusal: Option<&Refusal>) {
    if let Some((mut span, refusal)) = span.zip(refusal) {
        span.fail(refusal.code.as_str());
    }
}

/// An event that was given to NATS.
enum Submitted {
    Pending(PendingAck),
    /// Nothing to wait for.
    Done(Done),
}

/// An acknowledgement of JetStream that is awaited.
enum PendingAck {
    Event(PendingEvent),
    Read(Pending, UserId, Seq),
}

impl PendingAck {
    async fn acknowledged(self, bus: &Bus, room: RoomId) -> Result<Done, LogError> {
        match self {
            Self::Event(event) => bus.log().stored(event).await.map(Done::Stored),
            Self::Read(pending, user, seq) => {
                pending.stored().await?;
                bus.send(room, &EphemeralEvent::Read { user, seq }).await;
                Ok(Done::EMPTY)
            }
        }
    }
}

async fn submit(
    bus: &Bus,
    rooms: &Rooms,
    room: RoomId,
    event: OutgoingEvent,
    trace: Option<TraceParent>,
) -> Result<Submitted, Refusal> {
    match event {
        OutgoingEvent::Stored { id, event, needs, look_up } => {
            if look_up && let Some(first) = earlier(bus, room, &event).await? {
                return Ok(Submitted::Done(Done::Stored(first)));
            }
            let pending = append(bus, rooms, room, (&id, event, needs), trace).await?;
            Ok(Submitted::Pending(PendingAck::Event(pending)))
        }
        OutgoingEvent::Read { user, seq } => {
            let pending = bus.store_read(room, user, seq, trace).await;
            let pending = pending.map_err(|error| refusal(&error))?;
            Ok(Submitted::Pending(PendingAck::Read(pending, user, seq)))
        }
        OutgoingEvent::Ephemeral(event) => {
            bus.send(room, &event).await;
            Ok(Submitted::Done(Done::EMPTY))
        }
    }
}

/// Looks up where an earlier attempt to send a message was stored.
async fn earlier(bus: &Bus, room: RoomId, event: &StoredEvent) -> Result<Option<Stored>, Refusal> {
    let StoredEvent::ReceiveMsg(message) = event else { return Ok(None) };
    let first = bus.look_up_message(room, message.from.id, message.id).await;
    let first = first.map_err(|error| refusal(&error))?;
    Ok(first.map(|FirstStored { seq, at }| Stored { seq, at, duplicate: true }))
}

async fn append(
    bus: &Bus,
    rooms: &Rooms,
    room: RoomId,
    (id, mut event, needs): (&str, StoredEvent, Needs),
    trace: Option<TraceParent>,
) -> Result<PendingEvent, Refusal> {
    check_reaction(rooms, room, &event).await?;
    look_up(bus, room, &mut event, needs).await?;
    bus.log().append_event(room, id, &event, trace).await.map_err(|error| refusal(&error))
}

/// Refuses a reaction that exceeds the number of kinds, judged by the room's recently delivered events. The
/// archive, which has all events, applies the exact limit.
async fn check_reaction(rooms: &Rooms, room: RoomId, event: &StoredEvent) -> Result<(), Refusal> {
    let StoredEvent::Reaction { target, emoji, on: true, .. } = event else { return Ok(()) };
    let (respond, answer) = oneshot::channel();
    let check = RoomCommand::CheckReaction { target: *target, emoji: emoji.clone(), respond };
    if rooms.send(room, check).is_err() {
        return Err(Refusal::new(Code::Busy, "the room is busy; try again"));
    }
    // If the room does not answer, because it is busy or has just ended, the reaction is allowed.
    match tokio::time::timeout(ROOM_ANSWERS_WITHIN, answer).await {
        Ok(Ok(false)) => {
            let detail = format!(
                "a message has at most {} kinds of reactions; use an existing one",
                limits::REACTION_KINDS
            );
            Err(Refusal::new(Code::TooManyReactions, detail))
        }
        _ => Ok(()),
    }
}

/// Looks up the file or message that an event refers to.
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
                Refusal::new(Code::NoSuchFile, "the room has no complete file with this id");
            message.file = Some(found.ok_or(missing)?);
            Ok(())
        }
        (Needs::Message { seq, author }, _) => {
            let found = bus.log().event(room, seq).await.map_err(|error| refusal(&error))?;
            match (found, author) {
                (Some(StoredEvent::ReceiveMsg(message)), Some(author))
                    if message.from.id != author =>
                {
                    Err(Refusal::new(Code::Forbidden, "only the message's author may do this"))
                }
                (Some(StoredEvent::ReceiveMsg(_)), _) => Ok(()),
                _ => Err(Refusal::new(
                    Code::NoSuchMessage,
                    "there is no message at this seq, or it is too old to be changed",
                )),
            }
        }
        (Needs::Nothing | Needs::File(_), _) => Ok(()),
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
                "it is unknown whether the event was stored; send it again with the same id",
            )
        }
    }
}
