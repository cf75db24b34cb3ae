//! One shard's stream as a whole: how much it holds, and what is taken from its old end.

use async_nats::{
    Client,
    jetstream::{self, stream},
};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::StreamExt as _;
use protocol::{
    RoomId, Seq,
    stored::StoredEvent,
    subject::{self, Shard, Shards, Stored},
};

use crate::{
    log_error::{LogError, unavailable},
    roomlog::RoomLog,
};

/// Events that may follow the one that says that a room was deleted.
const LATE_EVENTS: usize = 1_000;
/// Rooms that are listed at once.
const ROOMS: usize = 100_000;

/// See the module.
pub struct ShardStream {
    context: jetstream::Context,
    log: RoomLog,
    shards: Shards,
    shard: Shard,
}

/// What a stream holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub bytes: u64,
    /// Beyond which it takes no more; none without a limit.
    pub max_bytes: Option<u64>,
    pub last_seq: Seq,
    pub replicas: usize,
}

impl ShardStream {
    pub fn new(client: Client, log: RoomLog, shard: Shard) -> Self {
        let shards = log.shards();
        let context = jetstream::with_prefix(client, subject::ARCHIVE_API);
        Self { context, log, shards, shard }
    }

    pub fn shard(&self) -> Shard {
        self.shard
    }

    /// Whether the room is one of the shard's.
    pub fn has(&self, room: RoomId) -> bool {
        self.shards.of(room) == self.shard
    }

    /// Without asking what it is made of and holds, which JetStream answers for all one after the other.
    async fn stream(&self) -> Result<stream::Stream<()>, LogError> {
        self.context.get_stream_no_info(self.shard.stream()).await.map_err(unavailable)
    }

    pub async fn held(&self) -> Result<Held, LogError> {
        let info = self.stream().await?.get_info().await.map_err(unavailable)?;
        let (state, config) = (&info.state, &info.config);
        Ok(Held {
            bytes: state.bytes,
            max_bytes: u64::try_from(config.max_bytes).ok().filter(|bytes| *bytes > 0),
            last_seq: Seq::try_from(state.last_sequence).map_err(unavailable)?,
            replicas: config.num_replicas,
        })
    }

    /// The seq of the first event since a moment; none if there was none.
    pub async fn first_since(&self, since: DateTime<Utc>) -> Result<Option<Seq>, LogError> {
        self.log.first_since(self.shard, since.into()).await
    }

    /// For each of these rooms of the shard, the seq of its newest event at or before `seq`, where it has
    /// one. A page of rooms: the server takes up to 1,024 at once.
    pub async fn newest_until(
        &self,
        rooms: &[RoomId],
        seq: Seq,
    ) -> Result<Vec<(RoomId, Seq)>, LogError> {
        self.log.newest_until(self.shard, rooms, seq).await
    }

    /// Rooms with events in the stream, up to a bound.
    pub async fn rooms(&self) -> Result<Vec<RoomId>, LogError> {
        let subjects = self.shard.stored_by_all_rooms();
        let info = self.stream().await?.info_with_subjects(subjects).await.map_err(unavailable)?;
        let rooms = info.take(ROOMS).filter_map(|subject| {
            let room = subject.ok().and_then(|(subject, _)| Stored::parse(&subject));
            std::future::ready(room.map(Stored::room))
        });
        Ok(rooms.collect().await)
    }

    /// When the first message with at least this seq was stored; none if there is none.
    pub async fn time_of_first(&self, seq: Seq) -> Result<Option<DateTime<Utc>>, LogError> {
        self.log.time_of_first(self.shard, seq).await
    }

    /// Keeps a message that could not be stored anywhere else, and why.
    pub async fn park(
        &self,
        seq: Seq,
        subject: &str,
        reason: &str,
        payload: &Bytes,
    ) -> Result<(), LogError> {
        self.log.park(self.shard, seq, subject, reason, payload).await
    }

    /// Says that a room's events before `event` are about to be purged: whoever reads the room and
    /// then that knows whether they have all of it.
    pub async fn mark(&self, room: RoomId, event: Seq) -> Result<(), LogError> {
        self.log.keep_from(room, event).await
    }

    /// Takes a room's events before `event` from the stream, after [`Self::mark`]. `event` is one of the
    /// room's and stays, so that the room's next event can name it.
    pub async fn purge_room(&self, room: RoomId, event: Seq) -> Result<(), LogError> {
        let subject = subject::stored(self.shards, room);
        let purge = self.stream().await?.purge().filter(subject).sequence(event.get()).await;
        purge.map(drop).map_err(unavailable)
    }

    /// Takes all events of a deleted room before the one that says that it is. That is the last one but
    /// for sends that were on their way.
    pub async fn purge_until_deleted(&self, room: RoomId) -> Result<(), LogError> {
        let subject = subject::stored(self.shards, room);
        let deleted = self.deleted_at(room).await?;
        let purge = self.stream().await?.purge().filter(subject);
        let purged = match deleted {
            Some(seq) => purge.sequence(seq.get()).await,
            None => purge.keep(1).await,
        };
        purged.map(drop).map_err(unavailable)
    }

    /// The event that says that a room was deleted, looked for from the end.
    async fn deleted_at(&self, room: RoomId) -> Result<Option<Seq>, LogError> {
        let mut newest = self.log.last(room).await?;
        for _ in 0..LATE_EVENTS {
            let Some(entry) = newest else { return Ok(None) };
            if matches!(StoredEvent::decode(&entry.payload), Ok(StoredEvent::RoomDeleted { .. })) {
                return Ok(Some(entry.seq));
            }
            newest = self.log.last_until(room, entry.seq.previous()).await?;
        }
        Ok(None)
    }

    /// Takes all that is left of a room.
    pub async fn purge_all(&self, room: RoomId) -> Result<(), LogError> {
        let subject = subject::stored(self.shards, room);
        let purge = self.stream().await?.purge().filter(subject).await;
        purge.map(drop).map_err(unavailable)
    }

    /// Takes all that is stored on a subject that belongs to no room.
    pub async fn purge_foreign(&self, subject: &str) -> Result<(), LogError> {
        // A subject with a wildcard in it would stand for others as well.
        if subject.contains(['*', '>']) {
            return Ok(());
        }
        let purge = self.stream().await?.purge().filter(subject).await;
        purge.map(drop).map_err(unavailable)
    }

    /// Takes what users have read, up to `below`: where it is archived, it is of no use here.
    pub async fn purge_reads(&self, below: Seq) -> Result<(), LogError> {
        let subject = self.shard.reads_of_all_rooms();
        let purge = self.stream().await?.purge().filter(subject).sequence(below.get()).await;
        purge.map(drop).map_err(unavailable)
    }
}
