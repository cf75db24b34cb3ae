//! The durable pull consumer of one shard's stream. An event that is not acknowledged is delivered again.

use std::{collections::HashSet, time::Duration};

use anyhow::Context as _;
use async_nats::{
    Client,
    jetstream::{
        self, AckKind, Message,
        consumer::{Info, PullConsumer},
    },
};
use chrono::{DateTime, Utc};
use futures_util::StreamExt as _;
use protocol::{
    Seq,
    subject::{ARCHIVE_CONSUMER, JETSTREAM_API},
};
use service::stream::ShardStream;
use tokio::sync::OnceCell;

/// Events of one batch. Larger batches are hardly faster, and all events are held in memory.
const MAX_EVENTS: usize = 2_000;
/// How long events are gathered before a batch is stored.
const GATHER_FOR: Duration = Duration::from_millis(200);
/// Redelivery delay of a failed batch. Not zero: a purge of the stream, of whatever subject, makes the server
/// forget messages that wait for immediate redelivery.
const FAILED_RETRY_AFTER: Duration = Duration::from_millis(500);

/// Finds the consumer on first use, so that one missing stream does not stop the others.
pub struct StreamConsumer {
    client: Client,
    context: jetstream::Context,
    consumer: OnceCell<PullConsumer>,
    stream: ShardStream,
}

/// How far the stream is archived, by all archives together.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Every event up to this seq is acknowledged.
    pub acknowledged: Seq,
    /// Every event that was stored before this time is archived.
    pub archived_until: DateTime<Utc>,
    /// Whether no event is left to archive.
    pub is_complete: bool,
}

impl StreamConsumer {
    pub fn new(client: Client, stream: ShardStream) -> Self {
        let context = jetstream::with_prefix(client.clone(), JETSTREAM_API);
        Self { client, context, consumer: OnceCell::new(), stream }
    }

    pub fn stream(&self) -> &ShardStream {
        &self.stream
    }

    async fn consumer(&self) -> anyhow::Result<&PullConsumer> {
        let find = || async {
            let stream = self.stream.shard().stream();
            let found = self.context.get_consumer_from_stream(ARCHIVE_CONSUMER, &stream).await;
            found.with_context(|| format!("no consumer on {stream}: run `provision`"))
        };
        self.consumer.get_or_try_init(find).await
    }

    async fn info(&self) -> anyhow::Result<Info> {
        let info = self.consumer().await?.get_info().await;
        let info = info.context("cannot read the state of the consumer")?;
        let lag =
            metrics::gauge!("chat_archive_lag_events", "stream" => self.stream.shard().stream());
        lag.set(info.num_pending as f64);
        Ok(info)
    }

    pub async fn progress(&self) -> anyhow::Result<Progress> {
        let asked_at = Utc::now();
        let info = self.info().await?;
        let acknowledged = Seq::try_from(info.ack_floor.stream_sequence)?;
        let is_complete = info.num_pending == 0 && info.num_ack_pending == 0;
        let next = if is_complete {
            None
        } else {
            // Times in the stream increase with the seqs.
            self.stream.time_of_first(acknowledged.next()).await?
        };
        let archived_until = next.map_or(asked_at, |next| next.min(asked_at));
        Ok(Progress { acknowledged, archived_until, is_complete })
    }

    /// The seq up to which every event is stored or among the caller's `unacknowledged` events.
    pub async fn complete_to(&self, unacknowledged: usize) -> anyhow::Result<Seq> {
        let info = self.info().await?;
        if info.num_ack_pending == unacknowledged {
            return Ok(Seq::MAX);
        }
        Ok(Seq::try_from(info.ack_floor.stream_sequence)?)
    }

    /// The next events, with the error that ended the batch early, if one did.
    pub async fn fetch(&self) -> anyhow::Result<(Vec<Message>, Option<anyhow::Error>)> {
        let batch = self.consumer().await?.batch().max_messages(MAX_EVENTS).expires(GATHER_FOR);
        let mut fetched = batch.messages().await.context("cannot fetch events")?;
        let mut messages = Vec::new();
        while let Some(message) = fetched.next().await {
            match message {
                Ok(message) => messages.push(message),
                Err(error) => {
                    return Ok((
                        messages,
                        Some(anyhow::anyhow!("a batch was interrupted: {error}")),
                    ));
                }
            }
        }
        Ok((messages, None))
    }

    /// Has a failed batch delivered again soon, instead of after the consumer's 30 s.
    pub async fn reject(&self, messages: &[Message]) {
        for message in messages {
            let _ = message.ack_with(AckKind::Nak(Some(FAILED_RETRY_AFTER))).await;
        }
        // The client sends in the background, but a Lambda function may be frozen, or the process end, before that.
        let _ = self.client.flush().await;
    }
}

/// The stream's seq of a delivered event.
pub fn seq_of(message: &Message) -> anyhow::Result<Seq> {
    let info = message.info();
    let info = info.map_err(|error| anyhow::anyhow!("an event without a sequence: {error}"))?;
    Ok(Seq::try_from(info.stream_sequence)?)
}

/// Acknowledges all events except `redelivered`, which are delivered again after their delays. The last
/// acknowledgement is awaited: the server processes them in order, so all have arrived when the consumer's
/// state is read next.
pub async fn acknowledge(
    messages: &[Message],
    redelivered: &[(Seq, Duration)],
) -> anyhow::Result<()> {
    let seq = |message: &Message| seq_of(message).unwrap_or_default();
    for (rejected, delay) in redelivered {
        let Some(message) = messages.iter().find(|message| seq(message) == *rejected) else {
            continue;
        };
        let nak = message.ack_with(AckKind::Nak(Some(*delay))).await;
        nak.map_err(|error| anyhow::anyhow!("cannot return an event to the stream: {error}"))?;
    }
    let redelivered: HashSet<Seq> = redelivered.iter().map(|(seq, _)| *seq).collect();
    let stored: Vec<&Message> =
        messages.iter().filter(|message| !redelivered.contains(&seq(message))).collect();
    let Some((last, others)) = stored.split_last() else { return Ok(()) };
    let failed = |error| anyhow::anyhow!("cannot acknowledge an event: {error}");
    for message in others {
        message.ack().await.map_err(failed)?;
    }
    last.double_ack().await.map_err(failed)
}
