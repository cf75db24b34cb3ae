//! A socket's events that are not stored yet: queued in order, then waiting concurrently for JetStream's
//! acknowledgement.

use std::collections::VecDeque;

use protocol::{RoomId, Seq, UserId, stored::StoredEvent};
use service::trace::Span;

use crate::{
    ephemeral::EphemeralEvent,
    memory::{Exhausted, Reservation},
    session::Needs,
};

/// Maximum number of unacknowledged events of one socket. At this number, the socket is not read from.
const IN_FLIGHT: usize = 64;
/// Maximum bytes of these events.
const BYTES_IN_FLIGHT: usize = 256 * 1024;

/// An event of a socket, with the id of the acknowledgement that its client requested.
#[derive(Debug)]
pub struct OutgoingItem {
    pub room: RoomId,
    pub event: OutgoingEvent,
    pub ack: Option<u64>,
    /// Ends with the acknowledgement.
    pub span: Option<Span>,
}

/// An event to be published.
#[derive(Debug)]
pub enum OutgoingEvent {
    /// An event for the stream. `id` is its dedupe key. With `look_up`, the message may be a retry from before
    /// the dedupe window.
    Stored { id: String, event: StoredEvent, needs: Needs, look_up: bool },
    /// A read mark: stored for the archive, then sent to the room.
    Read { user: UserId, seq: Seq },
    /// Sent to the room and not stored.
    Ephemeral(EphemeralEvent),
}

impl OutgoingItem {
    /// Its approximate size in memory.
    pub fn size(&self) -> usize {
        let text = match &self.event {
            OutgoingEvent::Stored { event, .. } => match event {
                StoredEvent::ReceiveMsg(message) => message.msg.as_str(),
                StoredEvent::MsgEdited { msg, .. } | StoredEvent::RoomBroadcast { msg, .. } => {
                    msg.as_str()
                }
                _ => "",
            },
            OutgoingEvent::Ephemeral(EphemeralEvent::Signal { data, .. }) => data.get(),
            OutgoingEvent::Read { .. } | OutgoingEvent::Ephemeral(_) => "",
        };
        size_of::<Self>() + text.len()
    }
}

/// See the module.
#[derive(Debug)]
pub struct Publishing {
    queue: VecDeque<OutgoingItem>,
    in_flight: usize,
    /// Bytes of the queued events and those in flight.
    bytes: usize,
    reservation: Reservation,
    /// A task that takes events from the queue is running.
    is_running: bool,
}

impl Publishing {
    /// An empty queue. `reservation` is for its events.
    pub fn new(reservation: Reservation) -> Self {
        Self { queue: VecDeque::new(), in_flight: 0, bytes: 0, reservation, is_running: false }
    }

    /// Whether no event is queued or in flight.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.in_flight == 0
    }

    /// Events that no task has taken yet.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Whether the socket must not be read from now.
    pub fn is_full(&self) -> bool {
        self.queue.len() + self.in_flight >= IN_FLIGHT || self.bytes >= BYTES_IN_FLIGHT
    }

    /// Queues an event. True when a task must be started that publishes it.
    pub fn push(&mut self, item: OutgoingItem) -> Result<bool, Exhausted> {
        let bytes = self.bytes + item.size();
        self.reservation.try_follow(bytes)?;
        self.bytes = bytes;
        self.queue.push_back(item);
        Ok(!std::mem::replace(&mut self.is_running, true))
    }

    /// The next event for the task. None ends the task.
    pub fn next(&mut self) -> Option<OutgoingItem> {
        let next = self.queue.pop_front();
        self.is_running = next.is_some();
        self.in_flight += usize::from(next.is_some());
        next
    }

    /// An event of `size` bytes was acknowledged or refused.
    pub fn finish(&mut self, size: usize) {
        self.in_flight -= 1;
        self.bytes -= size;
        // A smaller reservation is never refused.
        let _ = self.reservation.try_follow(self.bytes);
    }
}
