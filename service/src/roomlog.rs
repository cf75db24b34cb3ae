//! The log of stored events, by room: appended to and read in JetStream, in one place for all.

use std::borrow::Cow;

use async_nats::{
    Client, HeaderMap, Message,
    header::NATS_MESSAGE_ID,
    jetstream::{
        self,
        context::{PublishAckFuture, PublishErrorKind},
    },
};
use bytes::Bytes;
use protocol::{
    RoomId, Timestamp,
    subject::{self, PURGED_BUCKET, Shard, Shards},
};
use serde_json::json;

use crate::{
    bucket::Bucket,
    direct::{self, DirectGet},
    nats::ANSWER_WITHIN,
    trace::TraceParent,
};

/// Events looked at by one request when one of them is looked for.
const SEARCHED_AT_ONCE: usize = 256;
/// JetStream's error for a stream at its size limit with `discard: new`.
const MAXIMUM_REACHED: [u64; 3] = [10047, 10077, 10023];

/// An event as the stream holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub seq: u64,
    pub payload: Bytes,
}

/// Where an event was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    pub seq: u64,
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
    shards: Shards,
}

/// An append that JetStream has yet to acknowledge.
pub struct Pending(PublishAckFuture);

impl Pending {
    /// Waits for the acknowledgement: the event is stored.
    pub async fn stored(self) -> Result<Appended, LogError> {
        match self.0.await {
            Ok(ack) => Ok(Appended { seq: ack.sequence, duplicate: ack.duplicate }),
            Err(error) => Err(publish_error(&error)),
        }
    }
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
        let stored = DirectGet::new(client);
        let purged = Bucket::new(stored.clone(), PURGED_BUCKET);
        Self { stored, purged, context, shards }
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

    /// Queues a message on any stored subject, such as a key-value put. See [`Self::append`].
    pub async fn publish(
        &self,
        subject: String,
        id: &str,
        payload: Bytes,
        trace: Option<TraceParent>,
    ) -> Result<Pending, LogError> {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, id);
        if let Some(trace) = trace {
            headers.insert(subject::TRACEPARENT, trace.to_string());
        }
        let pending = self.context.publish_with_headers(subject, headers, payload).await;
        pending.map(Pending).map_err(|error| publish_error(&error))
    }

    /// The room's newest event.
    pub async fn last(&self, room: RoomId) -> Result<Option<Entry>, LogError> {
        let subject = subject::stored(self.shards, room);
        let request = json!({ "last_by_subj": subject });
        Ok(self.read(room, &request).await?.into_iter().next())
    }

    /// The room's newest event at or before `seq`.
    pub async fn last_until(&self, room: RoomId, seq: u64) -> Result<Option<Entry>, LogError> {
        if seq == 0 {
            // There is none, and NATS takes 0 for no bound.
            return Ok(None);
        }
        let subject = subject::stored(self.shards, room);
        let request = json!({ "multi_last": [subject], "up_to_seq": seq });
        Ok(self.read(room, &request).await?.into_iter().next())
    }

    /// The room's events after `seq`, oldest first, at most `limit` of them.
    pub async fn after(
        &self,
        room: RoomId,
        seq: u64,
        limit: usize,
    ) -> Result<Vec<Entry>, LogError> {
        let subject = subject::stored(self.shards, room);
        let request = json!({ "seq": seq + 1, "next_by_subj": subject, "batch": limit });
        self.read(room, &request).await
    }

    /// The same in pages: at most about `bytes` of events, but one at least if there is any.
    pub async fn page_after(
        &self,
        room: RoomId,
        seq: u64,
        limit: usize,
        bytes: usize,
    ) -> Result<Vec<Entry>, LogError> {
        let subject = subject::stored(self.shards, room);
        let request = json!({
            "seq": seq + 1, "next_by_subj": subject, "batch": limit, "max_bytes": bytes
        });
        self.read(room, &request).await
    }

    /// From this seq on the stream holds all events of the room; older ones may have been purged. 0
    /// when nothing ever was. Events that were read before this was are all there are past it.
    pub async fn oldest_kept(&self, room: RoomId) -> Result<u64, LogError> {
        let mark = self.purged.value(&room.to_string()).await?;
        mark.map_or(Ok(0), |mark| seq_of(&mark))
    }

    /// Says that events of the room before `seq` are about to be purged; see [`Self::oldest_kept`].
    /// `seq` is an event of the room, which stays, and never lower than what was said before.
    pub async fn keep_from(&self, room: RoomId, seq: u64) -> Result<(), LogError> {
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
            let seq = entry(last)?.seq + 1;
            request = json!({ "seq": seq, "next_by_subj": subject, "batch": SEARCHED_AT_ONCE });
        }
    }

    /// The seq of the first event of any of a shard's rooms since a moment.
    pub(crate) async fn first_since(
        &self,
        shard: Shard,
        since: Timestamp,
    ) -> Result<Option<u64>, LogError> {
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
fn seq_of(value: &[u8]) -> Result<u64, LogError> {
    let seq = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    seq.ok_or(LogError::Unavailable("what a room's stream still holds cannot be read".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_a_decimal_and_nothing_else_is_taken_for_none() {
        assert_eq!(seq_of(b"0").ok(), Some(0));
        assert_eq!(seq_of(u64::MAX.to_string().as_bytes()).ok(), Some(u64::MAX));
        for value in ["", "-1", "7 ", "0x7", "\u{0667}", "18446744073709551616"] {
            assert!(seq_of(value.as_bytes()).is_err(), "{value}");
        }
    }
}
