//! Reading of events by direct get.

use async_nats::{
    Message,
    header::{NATS_MESSAGE_ID, NATS_TIME_STAMP},
};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use protocol::{
    RoomId, Seq, Timestamp,
    stored::StoredEvent,
    subject::{self, Shard, Stored},
};
use serde_json::{Value, json};

use super::RoomLog;
use crate::{direct, log_error::LogError};

/// Events read by one request of a search.
const SEARCH_BATCH: usize = 256;

/// An event as the stream holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub seq: Seq,
    pub payload: Bytes,
}

impl RoomLog {
    /// The room's newest event.
    pub async fn last(&self, room: RoomId) -> Result<Option<Entry>, LogError> {
        let subject = subject::stored(self.shards, room);
        let request = json!({ "last_by_subj": subject });
        Ok(self.read(room, &request).await?.into_iter().next())
    }

    /// The room's newest event at or before `seq`.
    pub async fn last_until(&self, room: RoomId, seq: Seq) -> Result<Option<Entry>, LogError> {
        // There is no event before the first one, and for the server 0 means "no upper bound".
        if seq == Seq::ZERO {
            return Ok(None);
        }
        let subject = subject::stored(self.shards, room);
        let request = json!({ "multi_last": [subject], "up_to_seq": seq });
        Ok(self.read(room, &request).await?.into_iter().next())
    }

    /// The seq of the newest event at or before `seq` of each of some rooms of a shard. Rooms without one
    /// are left out, and so may be rooms that did not fit into the server's answer.
    pub(crate) async fn newest_until(
        &self,
        shard: Shard,
        rooms: &[RoomId],
        seq: Seq,
    ) -> Result<Vec<(RoomId, Seq)>, LogError> {
        // For the server 0 means "no upper bound".
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

    /// When the first message at or after `seq` of a shard's stream was stored.
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
        let time = time.ok_or(LogError::Unavailable("a stored message has no time".into()))?;
        Ok(Some(time.to_utc()))
    }

    /// The seq of the first event of any room of a shard since a time.
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

    /// The room's events after `seq` like [`Self::after`], limited to about `bytes` of payload, but at least
    /// one event if there is any.
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

    /// The room's event at `seq`, if the stream still holds it and it can be decoded.
    pub async fn event(&self, room: RoomId, seq: Seq) -> Result<Option<StoredEvent>, LogError> {
        let entries = self.after(room, seq.previous(), 1).await?;
        let found = entries.into_iter().find(|entry| entry.seq == seq);
        Ok(found.and_then(|entry| StoredEvent::decode(&entry.payload).ok()))
    }

    /// Whether an event of the room was appended under this idempotency key since a time. For retries that may
    /// arrive after the dedupe window.
    pub async fn has(&self, room: RoomId, id: &str, since: Timestamp) -> Result<bool, LogError> {
        let stream = self.shards.of(room).stream();
        let subject = subject::stored(self.shards, room);
        let since = since.to_string();
        let mut request =
            json!({ "start_time": since, "next_by_subj": subject, "batch": SEARCH_BATCH });
        loop {
            let answers = self.stored.messages(&stream, &request).await?;
            let has_id = |answer: &Message| {
                let headers = answer.headers.as_ref();
                let found = headers.and_then(|headers| headers.get(NATS_MESSAGE_ID));
                found.is_some_and(|found| found.as_str() == id)
            };
            if answers.iter().any(has_id) {
                return Ok(true);
            }
            let is_all = answers.len() < SEARCH_BATCH;
            let Some(last) = answers.into_iter().next_back().filter(|_| !is_all) else {
                return Ok(false);
            };
            let seq = entry(last)?.seq.next();
            request = json!({ "seq": seq, "next_by_subj": subject, "batch": SEARCH_BATCH });
        }
    }

    async fn read(&self, room: RoomId, request: &Value) -> Result<Vec<Entry>, LogError> {
        let messages = self.stored.messages(&self.shards.of(room).stream(), request).await?;
        messages.into_iter().map(entry).collect()
    }
}

fn entry(message: Message) -> Result<Entry, LogError> {
    let seq = direct::origin(&message)?.seq;
    Ok(Entry { seq, payload: message.payload })
}
