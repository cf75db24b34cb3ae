//! One shard's stream, read by a durable pull consumer: what is not acknowledged comes again.
//!
//! It may come again after what followed it: an archive died, or two work at once. A room counts as
//! archived up to an event only once no event before it is on its way to somebody; otherwise history
//! would miss what is neither read from the stream any more nor in the database yet.

use std::{
    collections::{BTreeMap, HashSet},
    sync::RwLock,
    time::Duration,
};

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
    RoomId,
    subject::{ARCHIVE_API, ARCHIVE_CONSUMER, Shard, Stored},
};
use tokio::sync::Mutex;

use super::{
    rows::{Event, Rows},
    store,
};
use crate::db::Database;

/// Events of one transaction. More gain little, and all are held in memory.
const EVENTS: usize = 2_000;
/// How long events are gathered until a batch is stored.
const WAIT: Duration = Duration::from_millis(200);
/// Rooms whose heads are remembered until they may be noted. A forgotten one is noted with its next
/// event; until then its history is read from the stream.
const HELD_ROOMS: usize = 10_000;

/// A change of a message that is still on its way, to somebody else, waits for so long.
const AGAIN_AFTER: Duration = Duration::from_millis(300);

/// How far rooms are: the seq of the last event that is stored.
pub type Heads = BTreeMap<RoomId, u64>;

/// See the module.
pub struct Source {
    consumer: PullConsumer,
    shard: String,
    /// Heads of stored events, some event before which was still on its way. The lock also keeps
    /// batches of one process apart.
    held: Mutex<Heads>,
    reached: RwLock<Reached>,
}

/// How far the archive is with a stream.
#[derive(Debug, Clone, Copy, Default)]
struct Reached {
    /// Every event up to this seq is acknowledged.
    acknowledged: u64,
    /// A moment before which every event is archived.
    archived_until: Option<DateTime<Utc>>,
}

impl Source {
    /// Finds the consumer.
    pub async fn open(client: &Client, shard: Shard) -> anyhow::Result<Self> {
        let stream = shard.stream();
        let context = jetstream::with_prefix(client.clone(), ARCHIVE_API);
        let consumer = context.get_consumer_from_stream(ARCHIVE_CONSUMER, &stream).await;
        let consumer =
            consumer.with_context(|| format!("no consumer on {stream}: run `provision`"))?;
        Ok(Self { consumer, shard: stream, held: Mutex::default(), reached: RwLock::default() })
    }

    /// Every event up to this seq is acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.reached().acknowledged
    }

    /// A moment before which every event is archived, once that is known.
    pub fn archived_until(&self) -> Option<DateTime<Utc>> {
        self.reached().archived_until
    }

    fn reached(&self) -> Reached {
        *self.reached.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Moves the next events into the database, then acknowledges them. What cannot be stored now
    /// comes again at once.
    pub async fn move_batch(&self, database: &Database) -> anyhow::Result<usize> {
        let mut held = self.held.lock().await;
        let began = Utc::now();
        let (messages, broken) = self.fetch().await?;
        if messages.is_empty() && broken.is_none() {
            self.look(began).await?;
        }
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

    /// Nothing came: what there was before is archived, unless somebody else has it.
    async fn look(&self, began: DateTime<Utc>) -> anyhow::Result<()> {
        let info = self.consumer.get_info().await.context("the consumer cannot be asked")?;
        let is_all = info.num_pending == 0 && info.num_ack_pending == 0;
        self.note(&info, Some(began).filter(|_| is_all));
        Ok(())
    }

    fn note(&self, info: &Info, archived_until: Option<DateTime<Utc>>) {
        metrics::gauge!("archive_lag", "stream" => self.shard.clone()).set(info.num_pending as f64);
        let mut reached = self.reached.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        reached.acknowledged = info.ack_floor.stream_sequence;
        reached.archived_until = archived_until.or(reached.archived_until);
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
        self.note(&info, None);
        let is_all = info.num_ack_pending == messages.len();
        let known = is_all.then_some(&heads);
        let early = store::store(database, Rows::of(&events), known).await;
        let early: HashSet<u64> = early.context("events cannot be stored")?.into_iter().collect();
        *held = if is_all || heads.len() > HELD_ROOMS { Heads::new() } else { heads };
        metrics::counter!("archive_events_total").increment(messages.len() as u64);
        acknowledge(messages, &early).await
    }
}

/// The last one's is awaited: acknowledgements are taken in order, so none is on its way when the
/// consumer is asked next.
async fn acknowledge(messages: &[Message], early: &HashSet<u64>) -> anyhow::Result<()> {
    let is_early =
        |message: &&Message| message.info().is_ok_and(|info| early.contains(&info.stream_sequence));
    for message in messages.iter().filter(is_early) {
        let again = message.ack_with(AckKind::Nak(Some(AGAIN_AFTER))).await;
        again.map_err(|error| anyhow::anyhow!("an event comes again later: {error}"))?;
    }
    let stored: Vec<&Message> = messages.iter().filter(|message| !is_early(message)).collect();
    let Some((last, others)) = stored.split_last() else { return Ok(()) };
    for message in others {
        let acknowledged = message.ack().await;
        acknowledged.map_err(|error| anyhow::anyhow!("an event comes again: {error}"))?;
    }
    last.double_ack().await.map_err(|error| anyhow::anyhow!("events come again: {error}"))
}
