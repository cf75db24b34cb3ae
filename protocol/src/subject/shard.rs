//! Shards: the assignment of rooms to JetStream streams.

use crate::{RoomId, Seq};

/// The number of shards. More than one, because the throughput of a stream is limited by its Raft leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shards(u16);

impl Shards {
    /// `None` for zero.
    pub fn new(count: u16) -> Option<Self> {
        (count > 0).then_some(Self(count))
    }

    pub fn all(self) -> impl Iterator<Item = Shard> {
        (0..self.0).map(Shard)
    }

    /// The shard of a room: FNV-1a over its id, the same on every machine and in every version.
    pub fn of(self, room: RoomId) -> Shard {
        let hash =
            room.as_uuid().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
            });
        Shard((hash % u64::from(self.0)) as u16)
    }
}

/// One of the streams, with its share of the rooms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shard(u16);

impl Shard {
    /// The position in [`Shards::all`].
    pub fn index(self) -> usize {
        self.0.into()
    }

    pub(super) fn number(self) -> u16 {
        self.0
    }

    /// `CHAT_<shard>`: the stream that stores the events of the shard's rooms.
    pub fn stream(self) -> String {
        format!("CHAT_{}", self.0)
    }

    /// The subjects of all events that the stream stores ([`super::stored`]).
    pub fn stored_by_all_rooms(self) -> String {
        format!("chat.{}.in.*", self.0)
    }

    /// The subjects of all read marks ([`super::read`]). The same stream stores them and does not
    /// republish them.
    pub fn reads_of_all_rooms(self) -> String {
        format!("chat.{}.read.*.*", self.0)
    }

    /// The subject of the dead letter for the event at `seq`, which the archive could not store.
    pub fn dead(self, seq: Seq) -> String {
        format!("chat.{}.dead.{seq}", self.0)
    }

    /// The subjects of republished events ([`super::republished`]), in NATS's mapping notation.
    pub fn republished(self) -> String {
        format!("chat.{}.out.{{{{wildcard(1)}}}}", self.0)
    }
}
