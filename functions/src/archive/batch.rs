//! One shard's stream, read by a durable pull consumer: what is not acknowledged comes again.
//!
//! It may come again after what followed it: an archive died, or two work at once. A room counts as
//! archived up to an event only once no event before it is on its way to somebody; otherwise history
//! would miss what is neither read from the stream any more nor in the database yet.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context as _;
use async_nats::{
    Client,
    jetstream::{self, AckKind, Message, consumer::PullConsumer},
};
use futures_util::StreamExt as _;
use protocol::{
    RoomId,
    subject::{ARCHIVE_CONSUMER, Shard, Stored},
};
use tokio::sync::Mutex;

use super::store::{self, Event};
use crate::db::Database;

/// Events of one transaction. More gain little, and all are held in memory.
const EVENTS: usize = 500;
/// How long events are gathered until a batch is stored.
const WAIT: Duration = Duration::from_millis(200);
/// Rooms whose heads are remembered until they may be noted. A forgotten one is noted with its next
/// event; until then its history is read from the stream.
const HELD_ROOMS: usize = 10_000;

/// How far rooms are: the seq of the last event that is stored.
pub type Heads = BTreeMap<RoomId, u64>;

/// See the module.
pub struct Source {
    consumer: PullConsumer,
    shard: String,
    /// Heads of stored events, some event before which was still on its way. The lock also keeps
    /// batches of one process apart.
    held: Mutex<Heads>,
}

impl Source {
    /// Finds the consumer.
    pub async fn open(client: &Client, shard: Shard) -> anyhow::Result<Self> {
        let stream = shard.stream();
        let context = jetstream::new(client.clone());
        let consumer = context.get_consumer_from_stream(ARCHIVE_CONSUMER, &stream).await;
        let consumer =
            consumer.with_context(|| format!("no consumer on {stream}: run `provision`"))?;
        Ok(Self { consumer, shard: stream, held: Mutex::default() })
    }

    /// Moves the next events into the database, then acknowledges them. What cannot be stored now
    /// comes again at once.
    pub async fn move_batch(&self, database: &Database) -> anyhow::Result<usize> {
        let mut held = self.held.lock().await;
        let (messages, broken) = self.fetch().await?;
        if !messages.is_empty()
            && let Err(error) = self.store(database, &messages, &mut held).await
        {
            for message in &messages {
                // Without this they come again as well, after the consumer's half a minute.
                let _ = message.ack_with(AckKind::Nak(None)).await;
            }
            return Err(error);
        }
        broken.map_or(Ok(messages.len()), Err)
    }

    /// The next events, and what kept more from coming.
    async fn fetch(&self) -> anyhow::Result<(Vec<Message>, Option<anyhow::Error>)> {
        let fetched = self.consumer.batch().max_messages(EVENTS).expires(WAIT).messages().await;
        let mut fetched = fetched.context("events cannot be fetched")?;
        let mut messages = Vec::new();
        while let Some(message) = fetched.next().await {
            match message {
                Ok(message) => messages.push(message),
                Err(error) => {
                    return Ok((messages, Some(anyhow::anyhow!("a batch broke off: {error}"))));
                }
            }
        }
        Ok((messages, None))
    }

    async fn store(
        &self,
        database: &Database,
        messages: &[Message],
        held: &mut Heads,
    ) -> anyhow::Result<()> {
        let (mut events, mut heads) = (Vec::with_capacity(messages.len()), held.clone());
        for message in messages {
            let info = message.info();
            let seq = info.map_err(|error| anyhow::anyhow!("an event without a place: {error}"))?;
            let (seq, subject) = (seq.stream_sequence, &message.subject);
            let Some(stored) = Stored::parse(subject) else {
                tracing::error!(%subject, seq, "an event of no room is passed over");
                continue;
            };
            if let Stored::Event(room) = stored {
                let head = heads.entry(room).or_default();
                *head = seq.max(*head);
            }
            events.push(Event { stored, seq, payload: message.payload.clone() });
        }
        events.sort_unstable_by_key(|event| event.seq);
        let info = self.consumer.get_info().await.context("the consumer cannot be asked")?;
        let is_all = info.num_ack_pending == messages.len();
        let known = is_all.then_some(&heads);
        store::store(database, &events, known).await.context("events cannot be stored")?;
        *held = if is_all || heads.len() > HELD_ROOMS { Heads::new() } else { heads };
        metrics::gauge!("archive_lag", "stream" => self.shard.clone()).set(info.num_pending as f64);
        metrics::counter!("archive_events_total").increment(messages.len() as u64);
        acknowledge(messages).await
    }
}

/// The last one's is awaited: acknowledgements are taken in order, so none is on its way when the
/// consumer is asked next.
async fn acknowledge(messages: &[Message]) -> anyhow::Result<()> {
    let Some((last, others)) = messages.split_last() else { return Ok(()) };
    for message in others {
        let acknowledged = message.ack().await;
        acknowledged.map_err(|error| anyhow::anyhow!("an event comes again: {error}"))?;
    }
    last.double_ack().await.map_err(|error| anyhow::anyhow!("events come again: {error}"))
}
