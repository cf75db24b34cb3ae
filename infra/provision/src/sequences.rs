//! Consistency of stream sequences and database after a restore. Sequences must never go backwards: database, gateways
//! and clients identify events by the sequence in their stream, and a stream that starts again would give the same
//! sequences to other events.

use anyhow::Context as _;
use async_nats::jetstream::Context;
use protocol::{
    Seq,
    subject::{Shard, Shards},
};
use service::roomlog::RoomLog;
use store::{db::Database, stream_log};

use crate::{config::Recovery, jetstream};

/// Distance between the highest sequence in the database and the first one of a recreated stream. Clients may have seen
/// events that were acknowledged but lost before they were archived. A stream of the default size holds fewer events
/// than this.
const GAP: u64 = 100_000_000;

/// The highest sequences in the database, and how to treat differences from the streams.
pub struct Sequences<'a> {
    database: &'a Database,
    log: RoomLog,
    context: &'a Context,
    recovery: Recovery,
    highest: Vec<(Shard, Seq)>,
}

impl<'a> Sequences<'a> {
    pub async fn read(
        database: &'a Database,
        log: RoomLog,
        context: &'a Context,
        shards: Shards,
        recovery: Recovery,
    ) -> anyhow::Result<Self> {
        let highest = stream_log::highest(database, shards).await;
        let highest = highest.context("cannot read the highest sequences in the database")?;
        Ok(Self { database, log, context, recovery, highest })
    }

    fn highest(&self, shard: Shard) -> Seq {
        self.highest.iter().find(|(other, _)| *other == shard).map_or(Seq::ZERO, |(_, seq)| *seq)
    }

    /// Fails, before anything is changed, on differences that are not resolved by an option in `recovery`.
    pub async fn check_all(&self) -> anyhow::Result<()> {
        let mut faults = Vec::new();
        for (shard, _) in &self.highest {
            if !self.recovery.advance {
                faults.extend(self.stream_behind(*shard).await?);
            }
            if !self.recovery.replay {
                faults.extend(self.database_behind(*shard).await?);
            }
        }
        anyhow::ensure!(faults.is_empty(), faults.join("\n"));
        Ok(())
    }

    /// A fault if the stream is behind the database, so that it must be recreated.
    pub async fn stream_behind(&self, shard: Shard) -> anyhow::Result<Option<String>> {
        let stream = shard.stream();
        let highest = self.highest(shard);
        let last = jetstream::last_sequence(self.context, &stream).await?;
        Ok(last.filter(|last| *last < highest).map(|last| {
            format!(
                "stream {stream} is behind the database: its last sequence is {last}, the highest in the \
                 database is {highest}. NATS lost its data or was restored from an older backup. \
                 `provision --advance` recreates the stream above {highest}; see \"Restoring\" in \
                 infra/README.md"
            )
        }))
    }

    /// A fault if the database is behind the stream, so that the archive must read the stream again.
    async fn database_behind(&self, shard: Shard) -> anyhow::Result<Option<String>> {
        let Some(floor) = self.ack_floor(shard).await? else { return Ok(None) };
        let highest = self.highest(shard);
        let is_behind = match stream_log::stored(self.database, shard).await? {
            Some(stored) => floor > stored,
            // An older version did not write this table, so only an empty database counts as lost.
            None => floor > Seq::ZERO && highest == Seq::ZERO,
        };
        let stream = shard.stream();
        Ok(is_behind.then(|| {
            format!(
                "the database is behind stream {stream}: events up to {floor} were archived, the highest \
                 in the database is {highest}. It was restored from an older backup. `provision --replay` \
                 lets the archive read all events of the stream again; see \"Restoring\" in \
                 infra/README.md"
            )
        }))
    }

    /// The sequence up to which the archive has acknowledged every event. `None` without its consumer.
    async fn ack_floor(&self, shard: Shard) -> anyhow::Result<Option<Seq>> {
        let consumer = jetstream::archive_consumer(self.context, &shard.stream()).await;
        let floor = consumer.map(|consumer| consumer.cached_info().ack_floor.stream_sequence);
        Ok(floor.map(Seq::try_from).transpose()?)
    }

    /// The first sequence of a new stream; `None` if the database holds no events. It is announced to gateways before
    /// the stream is created: the events they have seen are older and cannot be read from the new stream.
    pub async fn reserve_first_sequence(&self, shard: Shard) -> anyhow::Result<Option<Seq>> {
        let highest = self.highest(shard);
        if highest == Seq::ZERO {
            return Ok(None);
        }
        let first = highest.saturating_add(GAP);
        let announced = self.log.begins_at(shard, first.previous()).await;
        announced.context("cannot announce the first sequence of the new stream")?;
        Ok(Some(first))
    }

    /// Whether the archive must read the whole stream again.
    pub async fn needs_replay(&self, shard: Shard) -> anyhow::Result<bool> {
        Ok(self.recovery.replay
            && (self.recovery.is_asked || self.database_behind(shard).await?.is_some()))
    }

    /// Records how much of the stream the database holds, unless a record exists that a new consumer does not
    /// invalidate: a new consumer counts events that are no longer in the stream as acknowledged.
    pub async fn record_stored(&self, shard: Shard, is_new_consumer: bool) -> anyhow::Result<()> {
        let is_recorded = stream_log::stored(self.database, shard).await?.is_some();
        if is_new_consumer || !is_recorded {
            let floor = self.ack_floor(shard).await?.unwrap_or_default();
            stream_log::record(self.database, shard, floor.max(self.highest(shard))).await?;
        }
        Ok(())
    }
}
