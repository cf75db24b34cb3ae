//! Appending of events to the log.

use async_nats::{
    HeaderMap,
    header::NATS_MESSAGE_ID,
    jetstream::{
        self,
        context::{PublishAckFuture, PublishError, PublishErrorKind},
    },
};
use bytes::Bytes;
use protocol::{
    RoomId, Seq, Timestamp,
    event::Stored,
    stored::StoredEvent,
    subject::{self, Shard},
};

use super::{RoomLog, behind};
use crate::{
    high_water::HighWater,
    log_error::{LogError, unavailable},
    trace::{Span, TraceParent},
};

/// Maximum bytes of the payload in a dead letter; the rest is cut off.
const DEAD_LETTER_BYTES: usize = 512 * 1024;
/// Headers of a dead letter: the subject of the message, and the reason why it could not be archived.
const DEAD_SUBJECT: &str = "Chat-Subject";
const DEAD_REASON: &str = "Chat-Reason";
/// JetStream's errors for a stream that is at its size limit with `discard: new`.
const MAXIMUM_REACHED: [u64; 3] = [10047, 10077, 10023];

/// The position of a stored event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    pub seq: Seq,
    /// The event was already stored under the same idempotency key, at `seq`.
    pub duplicate: bool,
}

/// A message that was published and not acknowledged yet.
pub struct Pending {
    ack: PublishAckFuture,
    /// For a message in a shard's stream: the shard, and its high-water mark before the message.
    place: Option<(Shard, Seq)>,
    high_water: HighWater,
    /// Ends with the acknowledgement.
    span: Option<Span>,
}

impl Pending {
    /// Waits for the acknowledgement. A seq that is not above the high-water mark is an error: the stream was
    /// restored from an older backup, and the archive ignores events with known seqs.
    pub async fn stored(mut self) -> Result<Appended, LogError> {
        let ack = self.ack.await.map_err(|error| {
            if let Some(span) = &mut self.span {
                span.fail(error.kind().to_string());
            }
            publish_error(&error)
        })?;
        let seq = Seq::try_from(ack.sequence).map_err(unavailable)?;
        if let Some((shard, before)) = self.place.filter(|_| !ack.duplicate) {
            if seq <= before {
                self.high_water.set_behind(shard, true);
                return Err(behind(shard));
            }
            self.high_water.raise(shard, seq);
        }
        Ok(Appended { seq, duplicate: ack.duplicate })
    }
}

/// An event of a room that was published and not acknowledged yet. See [`RoomLog::append_event`].
pub struct PendingEvent {
    pending: Pending,
    room: RoomId,
    /// The time in the event.
    at: Timestamp,
}

impl RoomLog {
    /// Publishes the payload of an event of `room`. Events of one caller are stored in the order of its
    /// calls. `id` is the idempotency key, which JetStream remembers for the dedupe window.
    pub async fn append(
        &self,
        room: RoomId,
        id: &str,
        payload: Bytes,
        trace: Option<TraceParent>,
    ) -> Result<Pending, LogError> {
        self.publish(subject::stored(self.shards, room), id, payload, trace).await
    }

    /// Publishes an event as [`Self::append`] does. [`Self::stored`] waits for the acknowledgement.
    pub async fn append_event(
        &self,
        room: RoomId,
        id: &str,
        event: &StoredEvent,
        trace: Option<TraceParent>,
    ) -> Result<PendingEvent, LogError> {
        let pending = self.append(room, id, event.encode().into(), trace).await?;
        Ok(PendingEvent { pending, room, at: event.at() })
    }

    /// Waits until an event is stored. For a duplicate, seq and time are those of the first one.
    pub async fn stored(&self, event: PendingEvent) -> Result<Stored, LogError> {
        let PendingEvent { pending, room, at } = event;
        let Appended { seq, duplicate } = pending.stored().await?;
        let first = if duplicate { self.event(room, seq).await? } else { None };
        Ok(Stored { seq, at: first.map_or(at, |first| first.at()), duplicate })
    }

    /// Stores an event of `room` once per `id`: [`Self::append_event`], then [`Self::stored`].
    pub async fn append_once(
        &self,
        room: RoomId,
        id: &str,
        event: &StoredEvent,
        trace: Option<TraceParent>,
    ) -> Result<Stored, LogError> {
        self.stored(self.append_event(room, id, event, trace).await?).await
    }

    /// Publishes to any subject that a stream stores, such as a key of a bucket. See [`Self::append`].
    pub async fn publish(
        &self,
        subject: String,
        id: &str,
        payload: Bytes,
        trace: Option<TraceParent>,
    ) -> Result<Pending, LogError> {
        let shard = subject::Stored::parse(&subject).map(|stored| self.shards.of(stored.room()));
        if let Some(shard) = shard.filter(|shard| self.high_water.is_behind(*shard)) {
            return Err(behind(shard));
        }
        let place = shard.map(|shard| (shard, self.high_water.highest(shard)));
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, id);
        let mut span = Span::producer("publish", trace);
        if let Some(span) = &mut span {
            span.set("messaging.system", "nats");
            span.set("messaging.destination.name", subject.clone());
        }
        if let Some(trace) = span.as_ref().map(Span::parent).or(trace) {
            headers.insert(subject::TRACEPARENT, trace.to_string());
        }
        let pending = self.context.publish_with_headers(subject, headers, payload).await;
        let ack = pending.map_err(|error| publish_error(&error))?;
        Ok(Pending { ack, place, high_water: self.high_water.clone(), span })
    }

    /// Stores a message of a shard's stream as a dead letter. Called if the message can never be archived.
    pub async fn park(
        &self,
        shard: Shard,
        seq: Seq,
        subject: &str,
        reason: &str,
        payload: &Bytes,
    ) -> Result<(), LogError> {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, format!("{}:{seq}", shard.stream()).as_str());
        headers.insert(DEAD_SUBJECT, subject);
        headers.insert(DEAD_REASON, reason);
        let payload = payload.slice(..payload.len().min(DEAD_LETTER_BYTES));
        let dead = shard.dead(seq);
        let pending = self.context.publish_with_headers(dead, headers, payload).await;
        let pending = pending.map_err(|error| publish_error(&error))?;
        pending.await.map(drop).map_err(|error| publish_error(&error))
    }
}

fn publish_error(error: &PublishError) -> LogError {
    let full = std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<jetstream::Error>())
        .is_some_and(|error| MAXIMUM_REACHED.contains(&error.error_code().0));
    match error.kind() {
        _ if full => LogError::Full,
        PublishErrorKind::StreamNotFound => {
            LogError::Unavailable("no stream takes the room's events; run `provision`".into())
        }
        kind => unavailable(kind),
    }
}
