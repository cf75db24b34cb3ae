//! The stream of one shard as a whole: its size, and purging it.

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

/// Number of newest events that are searched for `room-deleted`, because messages that were in flight may
/// follow it.
const LATE_EVENTS: usize = 1_000;
/// Maximum number of rooms that [`ShardStream::rooms`] lists.
const ROOMS: usize = 100_000;

/// The stream of one shard.
#[derive(Clone)]
pub struct ShardStream {
    context: jetstream::Context,
    log: RoomLog,
    shards: Shards,
    shard: Shard,
}

/// The size of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamSize {
    pub bytes: u64,
    /// The size limit, if there is one.
    pub max_bytes: Option<u64>,
    pub last_seq: Seq,
    pub replicas: usize,
}

impl ShardStream {
    pub fn new(client: Client, log: RoomLog, shard: Shard) -> Self {
        let shards = log.shards();
        let context = jetstream::with_prefix(client, subject::JETSTREAM_API);
        Self { context, log, shards, shard }
    }

    pub fn shard(&self) -> Shard {
        self.shard
    }

    /// Whether the room belongs to the shard.
    pub fn has(&self, room: RoomId) -> bool {
        self.shards.of(room) == self.shard
    }

    /// A handle without the stream's info, because JetStream answers info requests one at a time.
    async fn stream(&self) -> Result<stream::Stream<()>, LogError> {
        self.context.get_stream_no_info(self.shard.stream()).await.map_err(unavailable)
    }

    pub async fn size(&self) -> Result<StreamSize, LogError> {
        let info = self.stream().await?.get_info().await.map_err(unavailable)?;
        let (state, config) = (&info.state, &info.config);
        Ok(StreamSize {
            bytes: state.bytes,
            max_bytes: u64::try_from(config.max_bytes).ok().filter(|bytes| *bytes > 0),
            last_seq: Seq::try_from(state.last_sequence).map_err(unavailable)?,
            replicas: config.num_replicas,
        })
    }

    /// The seq of the first event since a time.
    pub async fn first_since(&self, since: DateTime<Utc>) -> Result<Option<Seq>, LogError> {
        self.log.first_since(self.shard, since.into()).await
    }

    /// The seq of the newest event at or before `seq` of each of these rooms. Rooms without one are left out. The
    /// server accepts at most 1,024 rooms.
    pub async fn newest_until(
        &self,
        rooms: &[RoomId],
        seq: Seq,
    ) -> Result<Vec<(RoomId, Seq)>, LogError> {
        self.log.newest_until(self.shard, rooms, seq).await
    }

    /// Rooms with events in the stream, at most 100,000 of them.
    pub async fn rooms(&self) -> Result<Vec<RoomId>, LogError> {
        let subjects = self.shard.stored_by_all_rooms();
        let info = self.stream().await?.info_with_subjects(subjects).await.map_err(unavailable)?;
        let rooms = info.take(ROOMS).filter_map(|subject| {
            let room = subject.ok().and_then(|(subject, _)| Stored::parse(&subject));
            std::future::ready(room.map(Stored::room))
        });
        Ok(rooms.collect().await)
    }

    /// When the first message at or after `seq` was stored.
    pub async fn time_of_first(&self, seq: Seq) -> Result<Option<DateTime<Utc>>, LogError> {
        self.log.time_of_first(self.shard, seq).await
    }

    /// Stores a message as a dead letter, with the reason.
    pub async fn park(
        &self,
        seq: Seq,
        subject: &str,
        reason: &str,
        payload: &Bytes,
    ) -> Result<(), LogError> {
        self.log.park(self.shard, seq, subject, reason, payload).await
    }

    /// Marks that a room's events before `event` are about to be purged. See [`RoomLog::oldest_kept`].
    pub async fn mark(&self, room: RoomId, event: Seq) -> Result<(), LogError> {
        self.log.keep_from(room, event).await
    }

    /// Purges a room's events before `event`, after [`Self::mark`]. `event` is an event of the room and stays, so
    /// that it is the `prev` of the room's next event.
    pub async fn purge_room(&self, room: RoomId, event: Seq) -> Result<(), LogError> {
        let subject = subject::stored(self.shards, room);
        let purge = self.stream().await?.purge().filter(subject).sequence(event.get()).await;
        purge.map(drop).map_err(unavailable)
    }

    /// Purges the events of a deleted room before its `room-deleted`, which is usually the newest event.
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

    /// The seq of `room-deleted`, searched from the newest event.
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

    /// Purges all events of a room.
    pub async fn purge_all(&self, room: RoomId) -> Result<(), LogError> {
        let subject = subject::stored(self.shards, room);
        let purge = self.stream().await?.purge().filter(subject).await;
        purge.map(drop).map_err(unavailable)
    }

    /// Purges a subject that does not belong to any room.
    pub async fn purge_foreign(&self, subject: &str) -> Result<(), LogError> {
        // A wildcard would match other subjects too.
        if subject.contains(['*', '>']) {
            return Ok(());
        }
        let purge = self.stream().await?.purge().filter(subject).await;
        purge.map(drop).map_err(unavailable)
    }

    /// Purges the read marks of all rooms before `below`. Once archived, they are not needed in the stream.
    pub async fn purge_reads(&self, below: Seq) -> Result<(), LogError> {
        let subject = self.shard.reads_of_all_rooms();
        let purge = self.stream().await?.purge().filter(subject).sequence(below.get()).await;
        purge.map(drop).map_err(unavailable)
    }
}
