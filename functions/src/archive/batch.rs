//! One shard's stream, read by a durable pull consumer: what is not acknowledged comes again.

use std::time::Duration;

use anyhow::Context as _;
use async_nats::{
    Client,
    jetstream::{self, AckKind, consumer::PullConsumer},
};
use futures_util::StreamExt as _;
use protocol::subject::{self, ARCHIVE_CONSUMER, Shard};

use super::store::{self, Event};
use crate::db::Database;

/// Events of one transaction. More gain little, and all are held in memory.
const EVENTS: usize = 500;
/// How long an idle consumer waits for the first event of a batch.
const WAIT: Duration = Duration::from_millis(500);

/// See the module.
pub struct Source {
    consumer: PullConsumer,
    shard: String,
}

impl Source {
    /// Finds the consumer.
    pub async fn open(client: &Client, shard: Shard) -> anyhow::Result<Self> {
        let stream = shard.stream();
        let context = jetstream::new(client.clone());
        let consumer = context.get_consumer_from_stream(ARCHIVE_CONSUMER, &stream).await;
        let consumer =
            consumer.with_context(|| format!("no consumer on {stream}: run `provision`"))?;
        Ok(Self { consumer, shard: stream })
    }

    /// Moves the next events into the database, then acknowledges them.
    pub async fn move_batch(&self, database: &Database) -> anyhow::Result<usize> {
        let fetched = self.consumer.batch().max_messages(EVENTS).expires(WAIT).messages().await;
        let mut fetched = fetched.context("events cannot be fetched")?;
        let (mut messages, mut events, mut pending) = (Vec::new(), Vec::new(), 0);
        while let Some(message) = fetched.next().await {
            let message = message.map_err(|error| anyhow::anyhow!("a batch broke off: {error}"))?;
            let info = message
                .info()
                .map_err(|error| anyhow::anyhow!("an event without a place: {error}"))?;
            pending = info.pending;
            match subject::room_of(&message.subject) {
                Some(room) => events.push(Event {
                    room,
                    seq: info.stream_sequence,
                    payload: message.payload.clone(),
                }),
                None => {
                    tracing::error!(subject = %message.subject, "an event of no room is passed over")
                }
            }
            messages.push(message);
        }
        metrics::gauge!("archive_lag_events", "stream" => self.shard.clone()).set(pending as f64);
        if events.is_empty() {
            return Ok(0);
        }
        store::store(database, &events).await.context("events cannot be stored")?;
        for message in &messages {
            let acknowledged = message.ack_with(AckKind::Ack).await;
            acknowledged.map_err(|error| anyhow::anyhow!("an event comes again: {error}"))?;
        }
        metrics::counter!("archive_events_total").increment(events.len() as u64);
        Ok(events.len())
    }
}
