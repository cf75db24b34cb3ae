//! The log of stored events, by room: appended to and read in JetStream, in one place for all.

use std::borrow::Cow;

use async_nats::{
    Client, HeaderMap, Message,
    header::{NATS_MESSAGE_ID, NATS_TIME_STAMP},
    jetstream::{
        self, ErrorCode,
        context::{GetStreamErrorKind, PublishAckFuture, PublishErrorKind},
    },
};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use protocol::{
    RoomId, Seq, Timestamp, event,
    stored::StoredEvent,
    subject::{self, ARCHIVE_API, PURGED_BUCKET, Shard, Shards, Stored},
};
use serde_json::json;

use crate::{
    bucket::Bucket,
    direct::{self, DirectGet},
    high_water::HighWater,
    nats::ANSWER_WITHIN,
    trace::TraceParent,
};

/// What a dead letter keeps of a payload.
const PARKED_BYTES: usize = 512 * 1024;
/// Headers of a dead letter: where the event was, and why it could not be stored.
const DEAD_SUBJECT: &str = "Chat-Subject";
const DEAD_REASON: &str = "Chat-Reason";
/// Events looked at by one request when one of them is looked for.
const SEARCHED_AT_ONCE: usize = 256;
/// JetStream's error for a stream at its size limit with `discard: new`.
const MAXIMUM_REACHED: [u64; 3] = [10047, 10077, 10023];

/// An event as the stream holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub seq: Seq,
    pub payload: Bytes,
}

/// Where an event was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    pub seq: Seq,
    /// It had been stored before under the same id; `seq` is that one's.
    pub duplicate: bool,
}

/// Why the log did not do it.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// No answer in time or no connection: the event may or may not be stored. Trying again with
    /// the same id is safe.
    #[error("NATS did not answer: {0}")]
    Unavailable(Cow<'static, str>),
    /// The stream takes no more until it is archived.
    #[error("the stream is full")]
    Full,
}

pub(crate) fn unavailable(error: impl std::fmt::Display) -> LogError {
    LogError::Unavailable(error.to_string().into())
}

/// The rooms' logs.
#[derive(Clone)]
pub struct RoomLog {
    stored: DirectGet,
    purged: Bucket,
    context: jetstream::Context,
    /// JetStream's API, which other accounts than its own reach under a prefix.
    api: jetstream::Context,
    shards: Shards,
    high_water: HighWater,
}

/// An append that JetStream has yet to acknowledge.
pub struct Pending {
    ack: PublishAckFuture,
    /// For a room's stream: which one, and the highest seq that was known of it before.
    place: Option<(Shard, Seq)>,
    high_water: HighWater,
}

impl Pending {
    /// Waits for the acknowledgement: the event is stored. One that was stored where something else was
    /// before does not count: the stream went backwards, and the archive will not take it.
    pub async fn stored(self) -> Result<Appended, LogError> {
        let ack = self.ack.await.map_err(|error| publish_error(&error))?;
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

/// An event of a room that JetStream has yet to acknowledge. See [`RoomLog::append_event`].
pub struct PendingEvent {
    pending: Pending,
    room: RoomId,
    /// The time in the event.
    at: Timestamp,
}

fn behind(shard: Shard) -> LogError {
    let stream = shard.stream();
    LogError::Unavailable(format!("{stream} is behind; run `provision --advance`").into())
}

fn publish_error(error: &async_nats::jetstream::context::PublishError) -> LogError {
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

impl RoomLog {
    /// Uses `client` for everything.
    pub fn new(client: Client, shards: Shards) -> Self {
        let context = jetstream::context::ContextBuilder::new()
            .timeout(ANSWER_WITHIN)
            .ack_timeout(ANSWER_WITHIN)
            .build(client.clone());
        let api = jetstream::with_prefix(client.clone(), ARCHIVE_API);
        let stored = DirectGet::new(client);
        let purged = Bucket::new(stored.clone(), PURGED_BUCKET);
        Self { stored, purged, context, api, shards, high_water: HighWater::new(shards) }
    }

    /// The same, for connections of one process that know of the streams together.
    pub fn sharing(self, high_water: HighWater) -> Self {
        Self { high_water, ..self }
    }

    /// How far the streams are, as far as this process knows.
    pub fn high_water(&self) -> &HighWater {
        &self.high_water
    }

    /// Refuses while the room's stream is behind: what is stored now would be lost.
    pub fn check(&self, room: RoomId) -> Result<(), LogError> {
        let shard = self.shards.of(room);
        if self.high_water.is_behind(shard) { Err(behind(shard)) } else { Ok(()) }
    }

    /// Compares each stream with what is known of it, and notes whether it is behind. One that is not
    /// there at all is, if anything was ever stored in it.
    pub async fn look_at_streams(&self) -> Result<(), LogError> {
        for shard in self.shards.all() {
            let known = self.high_water.highest(shard);
            if known == Seq::ZERO {
                continue;
            }
            let last = self.last_seq(shard).await?;
            self.high_water.set_behind(shard, last.is_none_or(|last| last < known));
        }
        Ok(())
    }

    /// The newest seq that a stream has given; none without the stream.
    pub async fn last_seq(&self, shard: Shard) -> Result<Option<Seq>, LogError> {
        match self.api.get_stream(shard.stream()).await {
            Ok(stream) => {
                let last = stream.cached_info().state.last_sequence;
                Seq::try_from(last).map(Some).map_err(unavailable)
            }
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(refusal)
                    if refusal.error_code() == ErrorCode::STREAM_NOT_FOUND =>
                {
                    Ok(None)
                }
                _ => Err(unavailable(error)),
            },
        }
    }

    /// How rooms are spread over streams.
    pub fn shards(&self) -> Shards {
        self.shards
    }

    /// Queues an event of `room`. Appends of one caller are stored in the order of its calls.
    /// `id` is what JetStream dedupes by, for the dedupe window.
    pub async fn append(
        &self,
        room: RoomId,
        id: &str,
        payload: Bytes,
        trace: Option<TraceParent>,
    ) -> Result<Pending, LogError> {
        self.publish(subject::stored(self.shards, room), id, payload, trace).await
    }

    /// Queues an event of `room` under an idempotency key, as [`Self::append`] does. The result goes to
    /// [`Self::stored`].
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
    pub async fn stored(&self, event: PendingEvent) -> Result<event::Stored, LogError> {
        let PendingEvent { pending, room, at } = event;
        let Appended { seq, duplicate } = pending.stored().await?;
        let first = if duplicate { self.event(room, seq).await? } else { None };
        Ok(event::Stored { seq, at: first.map_or(at, |first| first.at()), duplicate })
    }

    /// Stores an event of `room` once per `id`: [`Self::append_event`] and [`Self::stored`] in one.
    pub async fn append_once(
        &self,
        room: RoomId,
        id: &str,
        event: &StoredEvent,
        trace: Option<TraceParent>,
    ) -> Result<event::Stored, LogError> {
        self.stored(self.append_event(room, id, event, trace).await?).await
    }

    /// The room's event at `seq`, if the stream still holds it and it can be read.
    pub async fn event(&self, room: RoomId, seq: Seq) -> Result<Option<StoredEvent>, LogError> {
        let entries = self.after(room, seq.previous(), 1).await?;
        let found = entries.into_iter().find(|entry| entry.seq == seq);
        Ok(found.and_then(|entry| StoredEvent::decode(&entry.payload).ok()))
    }

    /// Queues a message on any stored subject, such as a key-value put. See [`Self::append`].
    pub async fn publish(
        &self,
        subject: String,
        id: &str,
        payload: Bytes,
        trace: Option<TraceParent>,
    ) -> Result<Pending, LogError> {
        let shard = Stored::parse(&subject).map(|stored| self.shards.of(stored.room()));
        if let Some(shard) = shard.filter(|shard| self.high_water.is_behind(*shard)) {
            return Err(behind(shard));
        }
        let place = shard.map(|shard| (shard, self.high_water.highest(shard)));
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, id);
        if let Some(trace) = trace {
            headers.insert(subject::TRACEPARENT, trace.to_string());
        }
        let pending = self.context.publish_with_headers(subject, headers, payload).await;
        let ack = pending.map_err(|error| publish_error(&error))?;
        Ok(Pending { ack, place, high_water: self.high_water.clone() })
    }

    /// The room's newest event.
    pub async fn last(&self, room: RoomId) -> Result<Option<Entry>, LogError> {
        let subject = subject::stored(self.shards, room);
        let request = json!({ "last_by_subj": subject });
        Ok(self.read(room, &request).await?.into_iter().next())
    }

    /// The room's newest event at or before `seq`.
    pub async fn last_until(&self, room: RoomId, seq: Seq) -> Result<Option<Entry>, LogError> {
        if seq == Seq::ZERO {
            // There is none, and NATS takes 0 for no bound.
            return Ok(None);
        }
        let subject = subject::stored(self.shards, room);
        let request = json!({ "multi_last": [subject], "up_to_seq": seq });
        Ok(self.read(room, &request).await?.into_iter().next())
    }

    /// For each of some rooms of a shard, the seq of its newest event at or before `seq`. A room without
    /// one is left out, as may be rooms for which one answer of the server had no place.
    pub(crate) async fn newest_until(
        &self,
        shard: Shard,
        rooms: &[RoomId],
        seq: Seq,
    ) -> Result<Vec<(RoomId, Seq)>, LogError> {
        // The server takes 0 for "without an upper bound".
        if rooms.is_empty() || seq == Seq::ZERO {
            return Ok(Vec::new());
        }
        let subjects: Vec<String> =
            rooms.iter().map(|room| subject::stored(self.shards, *room)).collect();
        let request = json!({ "multi_last": subjects, "up_to_seq": seq });
        let answers = self.stored.messages(&shard.stream(), &request).await?;
        let newest = answers.iter().filter_map(|answer| {
            let origin = direct::origin(answer).ok()?;
            let Some(Stored::Event(room)) = Stored::parse(origin.subject) else { return None };
            Some((room, origin.seq))
        });
        Ok(newest.collect())
    }

    /// When the first message of a shard's stream with at least this seq was stored.
    pub(crate) async fn time_of_first(
        &self,
        shard: Shard,
        seq: Seq,
    ) -> Result<Option<DateTime<Utc>>, LogError> {
        let request = json!({ "seq": seq.max(Seq::ZERO.next()), "next_by_subj": ">" });
        let answers = self.stored.messages(&shard.stream(), &request).await?;
        let Some(first) = answers.into_iter().next() else { return Ok(None) };
        let time = first.headers.as_ref().and_then(|headers| headers.get_last(NATS_TIME_STAMP));
        let time = time.and_then(|time| DateTime::parse_from_rfc3339(time.as_str()).ok());
        let time = time.ok_or(LogError::Unavailable("an answer without a time".into()))?;
        Ok(Some(time.to_utc()))
    }

    /// Keeps a message of a shard's stream that could not be stored anywhere else.
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
        let payload = payload.slice(..payload.len().min(PARKED_BYTES));
        let dead = shard.dead(seq);
        let pending = self.context.publish_with_headers(dead, headers, payload).await;
        let pending = pending.map_err(|error| publish_error(&error))?;
        pending.await.map(drop).map_err(|error| publish_error(&error))
    }

    /// The room's events after `seq`, oldest first, at most `limit` of them.
    pub async fn after(
        &self,
        room: RoomId,
        seq: Seq,
        limit: usize,
    ) -> Result<Vec<Entry>, LogError> {
        let subject = subject::stored(self.shards, room);
        let request = json!({ "seq": seq.next(), "next_by_subj": subject, "batch": limit });
        self.read(room, &request).await
    }

    /// The same in pages: at most about `bytes` of events, but one at least if there is any.
    pub async fn page_after(
        &self,
        room: RoomId,
        seq: Seq,
        limit: usize,
        bytes: usize,
    ) -> Result<Vec<Entry>, LogError> {
        let subject = subject::stored(self.shards, room);
        let request = json!({
            "seq": seq.next(), "next_by_subj": subject, "batch": limit, "max_bytes": bytes
        });
        self.read(room, &request).await
    }

    /// The stream holds all events of the room after this seq; older ones may have been purged, or
    /// lost with an older stream. 0 when nothing ever was. Events that were read before this was are
    /// all there are past it.
    pub async fn oldest_kept(&self, room: RoomId) -> Result<Seq, LogError> {
        let keys = [room.to_string(), self.shards.of(room).stream()];
        let mut oldest = Seq::ZERO;
        for mark in self.purged.values(&keys).await? {
            oldest = seq_of(&mark)?.max(oldest);
        }
        Ok(oldest)
    }

    /// Says that no event of any room up to `seq` is in a shard's stream; see [`Self::oldest_kept`].
    pub async fn begins_at(&self, shard: Shard, seq: Seq) -> Result<(), LogError> {
        let key = subject::bucket_put(PURGED_BUCKET, &shard.stream());
        let id = format!("{}:{seq}", shard.stream());
        self.publish(key, &id, seq.to_string().into(), None).await?.stored().await.map(drop)
    }

    /// Says that events of the room before `seq` are about to be purged; see [`Self::oldest_kept`].
    /// `seq` is an event of the room, which stays. A mark never falls: a database that was restored from
    /// a backup may ask for an older one. Callers do not do this for one room at the same time.
    pub async fn keep_from(&self, room: RoomId, seq: Seq) -> Result<(), LogError> {
        if self.oldest_kept(room).await? >= seq {
            return Ok(());
        }
        let key = subject::bucket_put(PURGED_BUCKET, &room.to_string());
        let payload = seq.to_string().into();
        self.publish(key, &format!("{room}:{seq}"), payload, None).await?.stored().await.map(drop)
    }

    /// Reads events of a room.
    async fn read(
        &self,
        room: RoomId,
        request: &serde_json::Value,
    ) -> Result<Vec<Entry>, LogError> {
        let messages = self.stored.messages(&self.shards.of(room).stream(), request).await?;
        messages.into_iter().map(entry).collect()
    }

    /// Whether an event of the room was appended under this id since a moment. For when it may have
    /// been so long ago that JetStream no longer dedupes.
    pub async fn has(&self, room: RoomId, id: &str, since: Timestamp) -> Result<bool, LogError> {
        let stream = self.shards.of(room).stream();
        let subject = subject::stored(self.shards, room);
        let since = since.to_string();
        let mut request =
            json!({ "start_time": since, "next_by_subj": subject, "batch": SEARCHED_AT_ONCE });
        loop {
            let answers = self.stored.messages(&stream, &request).await?;
            let is = |answer: &Message| {
                let found = answer.headers.as_ref();
                let found = found.and_then(|headers| headers.get(NATS_MESSAGE_ID));
                found.is_some_and(|found| found.as_str() == id)
            };
            if answers.iter().any(is) {
                return Ok(true);
            }
            let is_all = answers.len() < SEARCHED_AT_ONCE;
            let Some(last) = answers.into_iter().next_back().filter(|_| !is_all) else {
                return Ok(false);
            };
            let seq = entry(last)?.seq.next();
            request = json!({ "seq": seq, "next_by_subj": subject, "batch": SEARCHED_AT_ONCE });
        }
    }

    /// The seq of the first event of any of a shard's rooms since a moment.
    pub(crate) async fn first_since(
        &self,
        shard: Shard,
        since: Timestamp,
    ) -> Result<Option<Seq>, LogError> {
        let (since, subject) = (since.to_string(), shard.stored_by_all_rooms());
        let request = json!({ "start_time": since, "next_by_subj": subject, "batch": 1 });
        let first = self.stored.messages(&shard.stream(), &request).await?.into_iter().next();
        first.map(|answer| Ok(entry(answer)?.seq)).transpose()
    }
}

fn entry(message: Message) -> Result<Entry, LogError> {
    let seq = direct::origin(&message)?.seq;
    Ok(Entry { seq, payload: message.payload })
}

/// The value of a room's key in [`PURGED_BUCKET`].
fn seq_of(value: &[u8]) -> Result<Seq, LogError> {
    let seq = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    seq.ok_or(LogError::Unavailable("what a room's stream still holds cannot be read".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_a_decimal_and_nothing_else_is_taken_for_none() {
        assert_eq!(seq_of(b"0").ok(), Some(Seq::ZERO));
        assert_eq!(seq_of(Seq::MAX.to_string().as_bytes()).ok(), Some(Seq::MAX));
        for value in ["", "-1", "7 ", "0x7", "\u{0667}", "18446744073709551616"] {
            assert!(seq_of(value.as_bytes()).is_err(), "{value}");
        }
    }
}
