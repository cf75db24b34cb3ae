//! One shard's stream, read by a durable pull consumer: what is not acknowledged comes again.
//!
//! It may come again after what followed it: an archive died, or two work at once. See [`super::held_heads`].
//! What can never be stored is parked as a dead letter, so that it holds up nothing else.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::{Duration, Instant},
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
    RoomId, Seq,
    seq::SeqError,
    subject::{ARCHIVE_CONSUMER, JETSTREAM_API, Stored},
};
use service::stream::ShardStream;
use store::db::{self, Database};
use tokio::sync::{Mutex, OnceCell};

use super::{
    dead_letters,
    entry::{Entry, Reason},
    held_heads::{self, Heads, HeldHeads},
    rows::Rows,
    volume::Volumes,
    write::{self, Outcome, Progress},
};

/// Events of one transaction. More gain little, and all are held in memory.
const EVENTS: usize = 2_000;
/// How long events are gathered until a batch is stored.
const WAIT: Duration = Duration::from_millis(200);
/// Events of a batch that failed come again after this time. Not at once: a purge of the stream, of
/// whatever subject, makes the server forget what waits to be delivered again at once.
const FAILED_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// A change of a message that is still on its way, to somebody else, waits for so long.
const AGAIN_AFTER: Duration = Duration::from_millis(300);

/// See the module.
pub struct Source {
    client: Client,
    context: jetstream::Context,
    consumer: OnceCell<PullConsumer>,
    stream: ShardStream,
    volumes: Arc<Volumes>,
    /// The lock also keeps batches of one process apart.
    held: Mutex<HeldHeads>,
}

/// How far the archive is with a stream.
#[derive(Debug, Clone, Copy)]
pub struct Reached {
    /// Every event up to this seq is acknowledged.
    pub acknowledged: Seq,
    /// A moment before which every event is archived.
    pub archived_until: DateTime<Utc>,
}

/// A batch, decoded.
struct Batch {
    /// What can be stored, in the order of the stream.
    entries: Vec<Entry>,
    dead: Vec<(Seq, Reason)>,
    /// The newest event of each room.
    heads: Heads,
    newest: Seq,
}

impl Source {
    pub fn new(client: Client, stream: ShardStream, volumes: Arc<Volumes>) -> Self {
        let context = jetstream::with_prefix(client.clone(), JETSTREAM_API);
        let (consumer, held) = (OnceCell::new(), Mutex::default());
        Self { client, context, consumer, stream, volumes, held }
    }

    /// Finds the consumer when it is first needed: a stream that is away stops no other.
    async fn consumer(&self) -> anyhow::Result<&PullConsumer> {
        let find = || async {
            let stream = self.stream.shard().stream();
            let found = self.context.get_consumer_from_stream(ARCHIVE_CONSUMER, &stream).await;
            found.with_context(|| format!("no consumer on {stream}: run `provision`"))
        };
        self.consumer.get_or_try_init(find).await
    }

    /// How far it is, whoever archives and however much there is to do.
    pub async fn reached(&self) -> anyhow::Result<Reached> {
        let asked_at = Utc::now();
        let info = self.info().await?;
        let acknowledged = Seq::try_from(info.ack_floor.stream_sequence)?;
        let next = match (info.num_pending, info.num_ack_pending) {
            (0, 0) => None,
            // The stream's times rise with its seqs.
            _ => self.stream.time_of_first(acknowledged.next()).await?,
        };
        Ok(Reached {
            acknowledged,
            archived_until: next.map_or(asked_at, |next| next.min(asked_at)),
        })
    }

    async fn info(&self) -> anyhow::Result<Info> {
        let info =
            self.consumer().await?.get_info().await.context("the consumer cannot be asked")?;
        let lag = metrics::gauge!("archive_lag", "stream" => self.stream.shard().stream());
        lag.set(info.num_pending as f64);
        Ok(info)
    }

    /// Moves events until none is left, one batch fails, or it is `until`; one batch in any case. Returns
    /// how many were moved.
    pub async fn drain(&self, database: &Database, until: Instant) -> (usize, anyhow::Result<()>) {
        let mut moved = 0;
        loop {
            match self.move_batch(database).await {
                Ok(0) => return (moved, Ok(())),
                Ok(batch) => moved += batch,
                Err(error) => return (moved, Err(error.context(self.stream.shard().stream()))),
            }
            if Instant::now() >= until {
                return (moved, Ok(()));
            }
        }
    }

    /// Moves the next events into the database, then acknowledges them; returns how many. What cannot
    /// be stored now comes again soon.
    pub async fn move_batch(&self, database: &Database) -> anyhow::Result<usize> {
        let mut held = self.held.lock().await;
        let (messages, broken) = self.fetch().await?;
        if messages.is_empty() {
            self.note_held(database, &mut held).await?;
        } else if let Err(error) = self.store(database, &messages, &mut held).await {
            for message in &messages {
                // Without this they come again as well, after the consumer's half a minute.
                let _ = message.ack_with(AckKind::Nak(Some(FAILED_AGAIN_AFTER))).await;
            }
            // A Lambda function is frozen, and a pass ends, before they would be sent by themselves.
            let _ = self.client.flush().await;
            return Err(error);
        }
        broken.map_or(Ok(messages.len()), Err)
    }

    /// The next events, and what kept more from coming.
    async fn fetch(&self) -> anyhow::Result<(Vec<Message>, Option<anyhow::Error>)> {
        let batch = self.consumer().await?.batch().max_messages(EVENTS).expires(WAIT);
        let fetched = batch.messages().await;
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

    /// Nothing came: heads that were held back may be noted by now.
    async fn note_held(&self, database: &Database, held: &mut HeldHeads) -> anyhow::Result<()> {
        if held.is_empty() {
            return Ok(());
        }
        let floor = complete_to(&self.info().await?, 0)?;
        let heads = held.complete(floor);
        if let Some(stored) = heads.values().max().copied() {
            let progress = Progress { heads, stream: self.stream.shard().stream(), stored };
            let noted = write::store(database, Rows::default(), Some(&progress), floor).await;
            let noted = noted.context("it cannot be noted how far rooms are archived")?;
            held.forget(floor);
            self.purge_unknown(&noted.unknown, &progress.heads).await?;
        }
        Ok(())
    }

    async fn store(
        &self,
        database: &Database,
        messages: &[Message],
        held: &mut HeldHeads,
    ) -> anyhow::Result<()> {
        let batch = Batch::decode(messages)?;
        let floor = complete_to(&self.info().await?, messages.len())?;
        let mut heads = held.complete(floor);
        if floor == Seq::MAX {
            held_heads::merge(&mut heads, &batch.heads);
        }
        let stream = self.stream.shard().stream();
        let progress = Progress { heads, stream, stored: batch.newest };
        let stored = store_some(database, &batch.entries, &progress, floor).await;
        let (outcome, refused) = stored.context("events cannot be stored")?;
        held.forget(floor);
        if floor != Seq::MAX {
            held.push(batch.heads.clone());
        }
        let mut dead = batch.dead;
        dead.extend(refused.into_iter().map(|seq| (seq, Reason::RefusedByDatabase)));
        let mut again = dead_letters::park(&self.stream, messages, &dead).await;
        again.extend(outcome.early.iter().map(|seq| (*seq, AGAIN_AFTER)));
        let mut heads = progress.heads;
        held_heads::merge(&mut heads, &batch.heads);
        self.purge_unknown(&outcome.unknown, &heads).await?;
        for message in messages {
            if let Some(Stored::Event(room)) = Stored::parse(&message.subject) {
                self.volumes.add(room, message.length);
            }
        }
        metrics::counter!("archive_events_total").increment(messages.len() as u64);
        acknowledge(messages, &again).await
    }

    /// Events of rooms that the database does not know are of no use to anybody; nothing else would
    /// ever purge them. A room's row is there before its first event, and goes after its last.
    async fn purge_unknown(&self, unknown: &BTreeSet<RoomId>, heads: &Heads) -> anyhow::Result<()> {
        for (room, head) in unknown.iter().filter_map(|room| heads.get_key_value(room)) {
            tracing::warn!(%room, %head, "events of a room that the database does not know are purged");
            self.stream.purge_room(*room, head.next()).await?;
        }
        Ok(())
    }
}

impl Batch {
    fn decode(messages: &[Message]) -> anyhow::Result<Self> {
        let (mut entries, mut dead) = (Vec::with_capacity(messages.len()), Vec::new());
        let (mut heads, mut newest) = (Heads::new(), Seq::ZERO);
        for message in messages {
            let info = message.info();
            let info =
                info.map_err(|error| anyhow::anyhow!("an event without a place: {error}"))?;
            let seq = Seq::try_from(info.stream_sequence)?;
            newest = seq.max(newest);
            let stored = Stored::parse(&message.subject);
            if let Some(Stored::Event(room)) = stored {
                held_heads::merge(&mut heads, &Heads::from([(room, seq)]));
            }
            match Entry::decode(stored, seq, &message.payload) {
                Ok(entry) => entries.push(entry),
                Err(reason) => dead.push((seq, reason)),
            }
        }
        entries.sort_unstable_by_key(|entry: &Entry| entry.seq);
        Ok(Self { entries, dead, heads, newest })
    }
}

/// Up to which seq every event is stored or among the `mine` that are not acknowledged yet.
fn complete_to(info: &Info, mine: usize) -> Result<Seq, SeqError> {
    let is_all_mine = info.num_ack_pending == mine;
    if is_all_mine { Ok(Seq::MAX) } else { Seq::try_from(info.ack_floor.stream_sequence) }
}

/// Stores entries in one transaction. If the database refuses one of them, in several: halves of
/// halves, until it is found. Returns the seqs of those that are refused.
async fn store_some(
    database: &Database,
    entries: &[Entry],
    progress: &Progress,
    complete_to: Seq,
) -> sqlx::Result<(Outcome, Vec<Seq>)> {
    match write::store(database, Rows::of(entries), Some(progress), complete_to).await {
        Ok(outcome) => return Ok((outcome, Vec::new())),
        Err(error) if db::is_refused(&error) => {
            tracing::warn!(%error, "the database refuses an event; looking for it");
        }
        Err(error) => return Err(error),
    }
    let (mut outcome, mut refused) = (Outcome::default(), Vec::new());
    let mut pieces = vec![entries];
    while let Some(piece) = pieces.pop() {
        match write::store(database, Rows::of(piece), None, complete_to).await {
            Ok(stored) => outcome.early.extend(stored.early),
            Err(error) if !db::is_refused(&error) => return Err(error),
            Err(_) if piece.len() <= 1 => refused.extend(piece.first().map(|entry| entry.seq)),
            Err(_) => {
                let (first, second) = piece.split_at(piece.len() / 2);
                pieces.extend([second, first]);
            }
        }
    }
    let noted = write::store(database, Rows::default(), Some(progress), complete_to).await?;
    outcome.unknown = noted.unknown;
    Ok((outcome, refused))
}

/// `again` come again, after a while. The last acknowledgement is awaited: they are taken in order, so
/// none is on its way when the consumer is asked next.
async fn acknowledge(messages: &[Message], again: &[(Seq, Duration)]) -> anyhow::Result<()> {
    let later: HashSet<Seq> = again.iter().map(|(seq, _)| *seq).collect();
    let seq = |message: &Message| {
        message
            .info()
            .ok()
            .and_then(|info| Seq::try_from(info.stream_sequence).ok())
            .unwrap_or_default()
    };
    for (seq_again, after) in again {
        let Some(message) = messages.iter().find(|message| seq(message) == *seq_again) else {
            continue;
        };
        let given_back = message.ack_with(AckKind::Nak(Some(*after))).await;
        given_back.map_err(|error| anyhow::anyhow!("an event comes again later: {error}"))?;
    }
    let stored: Vec<&Message> =
        messages.iter().filter(|message| !later.contains(&seq(message))).collect();
    let Some((last, others)) = stored.split_last() else { return Ok(()) };
    for message in others {
        let acknowledged = message.ack().await;
        acknowledged.map_err(|error| anyhow::anyhow!("an event comes again: {error}"))?;
    }
    last.double_ack().await.map_err(|error| anyhow::anyhow!("events come again: {error}"))
}
