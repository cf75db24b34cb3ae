//! The log of stored events, by room: appended to and read in JetStream, in one place for all.

use std::{borrow::Cow, time::Duration};

use async_nats::{
    Client, HeaderMap, Message, StatusCode,
    header::NATS_MESSAGE_ID,
    jetstream::{
        self,
        context::{PublishAckFuture, PublishErrorKind},
    },
};
use bytes::Bytes;
use futures_util::StreamExt as _;
use protocol::{
    RoomId, Timestamp,
    subject::{self, Shard, Shards},
};
use serde_json::json;

use crate::{nats::ANSWER_WITHIN, trace::TraceParent};

/// How long one answer of a batch may take.
const NEXT_ANSWER_WITHIN: Duration = Duration::from_secs(2);
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
    client: Client,
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
        Self { client, context, shards }
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
        Ok(self.get(room, &request).await?.into_iter().next())
    }

    /// The room's newest event at or before `seq`.
    pub async fn last_until(&self, room: RoomId, seq: u64) -> Result<Option<Entry>, LogError> {
        let subject = subject::stored(self.shards, room);
        let request = json!({ "multi_last": [subject], "up_to_seq": seq });
        Ok(self.get(room, &request).await?.into_iter().next())
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
        self.get(room, &request).await
    }

    /// The oldest sequence that the room's stream still holds.
    pub async fn first_seq(&self, room: RoomId) -> Result<u64, LogError> {
        let stream = self.shards.of(room).stream();
        let stream = self.context.get_stream(stream).await.map_err(unavailable)?;
        Ok(stream.cached_info().state.first_sequence)
    }

    /// Whether an event of the room was appended under this id since a moment. For when it may have
    /// been so long ago that JetStream no longer dedupes.
    pub async fn has(&self, room: RoomId, id: &str, since: Timestamp) -> Result<bool, LogError> {
        let subject = subject::stored(self.shards, room);
        let since = since.to_string();
        let mut request =
            json!({ "start_time": since, "next_by_subj": subject, "batch": SEARCHED_AT_ONCE });
        loop {
            let answers = self.answers(room, &request).await?;
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
        let first = self.answers_of(shard, &request).await?.into_iter().next();
        first.map(|answer| Ok(entry(answer)?.seq)).transpose()
    }

    async fn get(&self, room: RoomId, request: &serde_json::Value) -> Result<Vec<Entry>, LogError> {
        self.answers(room, request).await?.into_iter().map(entry).collect()
    }

    async fn answers(
        &self,
        room: RoomId,
        request: &serde_json::Value,
    ) -> Result<Vec<Message>, LogError> {
        self.answers_of(self.shards.of(room), request).await
    }

    /// Direct get (ADR-31 of NATS), batched: one request, an answer per event, then an end mark.
    async fn answers_of(
        &self,
        shard: Shard,
        request: &serde_json::Value,
    ) -> Result<Vec<Message>, LogError> {
        let api = format!("$JS.API.DIRECT.GET.{}", shard.stream());
        let inbox = self.client.new_inbox();
        let mut answers = self.client.subscribe(inbox.clone()).await.map_err(unavailable)?;
        let body = request.to_string().into();
        self.client.publish_with_reply(api, inbox, body).await.map_err(unavailable)?;
        let is_batch = request.get("batch").is_some() || request.get("multi_last").is_some();
        let mut found = Vec::new();
        loop {
            let answer = tokio::time::timeout(NEXT_ANSWER_WITHIN, answers.next())
                .await
                .map_err(|_| LogError::Unavailable("a stored event was not read in time".into()))?
                .ok_or(LogError::Unavailable("the connection was closed".into()))?;
            match answer.status {
                None | Some(StatusCode::OK) => found.push(answer),
                Some(StatusCode::NOT_FOUND) => return Ok(found),
                Some(status) if status.as_u16() == 204 => return Ok(found),
                Some(status) => return Err(unavailable(format!("status {status}"))),
            }
            if !is_batch {
                return Ok(found);
            }
        }
    }
}

fn entry(answer: Message) -> Result<Entry, LogError> {
    let seq = answer
        .headers
        .as_ref()
        .and_then(|headers| headers.get(async_nats::header::NATS_SEQUENCE))
        .and_then(|seq| seq.as_str().parse().ok())
        .ok_or(LogError::Unavailable("an answer without a sequence".into()))?;
    Ok(Entry { seq, payload: answer.payload })
}
