//! Sequences never go backwards. The database keeps events by the seq that their stream gave them, and
//! so do gateways and clients: a stream that begins anew would give the same seqs to other events.

use anyhow::Context as _;
use async_nats::jetstream::{Context, consumer::PullConsumer};
use protocol::subject::{ARCHIVE_CONSUMER, Shard, Shards};
use service::roomlog::RoomLog;
use store::{db::Database, stream_log};

use crate::{Recovery, streams};

/// What a new stream leaves free after the highest seq that the database knows: for events that were
/// acknowledged and lost before they were archived, and that clients may have seen. A stream of the
/// usual size holds fewer.
const GAP: u64 = 100_000_000;

/// What the database knows of the streams.
pub struct Sequences<'a> {
    database: &'a Database,
    log: RoomLog,
    context: &'a Context,
    recovery: Recovery,
    known: Vec<(Shard, u64)>,
}

impl<'a> Sequences<'a> {
    pub async fn read(
        database: &'a Database,
        log: RoomLog,
        context: &'a Context,
        shards: Shards,
        recovery: Recovery,
    ) -> anyhow::Result<Self> {
        let known = stream_log::highest(database, shards).await;
        let known = known.context("the highest sequence that the database knows")?;
        Ok(Self { database, log, context, recovery, known })
    }

    fn known(&self, shard: Shard) -> u64 {
        self.known.iter().find(|(known, _)| *known == shard).map_or(0, |(_, seq)| *seq)
    }

    /// Refuses, before anything is changed, what would lose events without a word. Whoever asks for the
    /// way out gets it.
    pub async fn check(&self) -> anyhow::Result<()> {
        let mut faults = Vec::new();
        for (shard, _) in &self.known {
            if !self.recovery.advance {
                faults.extend(self.behind(*shard).await?);
            }
            if !self.recovery.replay {
                faults.extend(self.ahead(*shard).await?);
            }
        }
        anyhow::ensure!(faults.is_empty(), faults.join("\n"));
        Ok(())
    }

    /// Why the stream must be made anew, if it must.
    pub async fn behind(&self, shard: Shard) -> anyhow::Result<Option<String>> {
        let known = self.known(shard);
        let last = streams::last_seq(self.context, &shard.stream()).await?;
        let last = last.filter(|last| *last < known);
        Ok(last.map(|last| {
            let stream = shard.stream();
            format!(
                "stream {stream} is behind the database: its newest sequence is {last}, the database \
                 knows {known}. NATS lost its data or was restored from an older backup. \
                 `provision --advance` makes the stream anew above {known}; see \"Restoring\" in \
                 infra/README.md"
            )
        }))
    }

    /// Why the archive must take again what the stream holds, if it must.
    pub async fn ahead(&self, shard: Shard) -> anyhow::Result<Option<String>> {
        let Some(floor) = self.floor(shard).await? else { return Ok(None) };
        let stored = stream_log::stored(self.database, shard).await?;
        let known = self.known(shard);
        let is_ahead = match stored {
            Some(stored) => floor > stored,
            // A database of before this table has something; one that was lost has nothing.
            None => floor > 0 && known == 0,
        };
        let stream = shard.stream();
        Ok(is_ahead.then(|| {
            format!(
                "the database is behind stream {stream}: events up to {floor} were archived, the \
                 database knows {known}. It was restored from an older backup. `provision --replay` \
                 has the archive take again what the stream still holds; see \"Restoring\" in \
                 infra/README.md"
            )
        }))
    }

    /// Up to which seq the archive has acknowledged all; none without its consumer.
    async fn floor(&self, shard: Shard) -> anyhow::Result<Option<u64>> {
        let consumer =
            self.context.get_consumer_from_stream(ARCHIVE_CONSUMER, shard.stream()).await;
        let Ok(consumer): Result<PullConsumer, _> = consumer else { return Ok(None) };
        Ok(Some(consumer.cached_info().ack_floor.stream_sequence))
    }

    /// Where a new stream begins. Says so to gateways before the stream is there: what they know is
    /// older, and cannot be read from it.
    pub async fn first(&self, shard: Shard) -> anyhow::Result<Option<u64>> {
        let known = self.known(shard);
        if known == 0 {
            return Ok(None);
        }
        let first = known + GAP;
        self.log.begins_at(shard, first - 1).await.context("where the new stream begins")?;
        Ok(Some(first))
    }

    /// Whether the consumer is to be made anew.
    pub async fn replays(&self, shard: Shard) -> anyhow::Result<bool> {
        Ok(self.recovery.replay && (self.recovery.is_asked || self.ahead(shard).await?.is_some()))
    }

    /// Writes down how far the database is, where that is not known yet or the consumer is new: a new
    /// one counts what is no longer in the stream as acknowledged.
    pub async fn note(&self, shard: Shard, is_new_consumer: bool) -> anyhow::Result<()> {
        let is_known = stream_log::stored(self.database, shard).await?.is_some();
        if is_new_consumer || !is_known {
            let floor = self.floor(shard).await?.unwrap_or(0);
            stream_log::note(self.database, shard, floor.max(self.known(shard))).await?;
        }
        Ok(())
    }
}
