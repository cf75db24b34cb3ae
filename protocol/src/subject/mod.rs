//! Names in NATS: subjects, streams, buckets and dedupe keys. They are built from parsed ids and numbers
//! only, so no input can widen a subject.

mod revoked;
mod shard;

pub use self::{
    revoked::{MemberState, MemberStateError, Revoked},
    shard::{Shard, Shards},
};
use crate::{FileId, MessageId, RoomId, UserId};

/// The key-value bucket of revocations: sessions, accounts, rooms and memberships that ended or changed before
/// tokens for them expired.
pub const REVOKED_BUCKET: &str = "revoked";
/// The key-value bucket of complete files, which a message may refer to.
pub const FILES_BUCKET: &str = "files";
/// The key-value bucket of purge marks. Key: a room's id. Value: the decimal seq of the oldest event of the
/// room that its stream certainly holds. A mark is written before older events are purged, so the stream holds
/// all events of a room without a mark. Keys never expire, because a purge is final.
///
/// A stream's name is also used as a key: the stream was created again after it was lost, and holds no event up
/// to the value.
pub const PURGED_BUCKET: &str = "purged";
/// The subjects on which the stream of [`REVOKED_BUCKET`] republishes its entries: `chat.revoked.<key>`.
pub const REVOKED_NEWS: &str = "chat.revoked.>";
/// The prefix of JetStream's API for all accounts except `provision`'s. They reach parts of the API by imports.
pub const JETSTREAM_API: &str = "JS.CHAT.API";
/// The stream of dead letters: events that the archive could not store, kept for diagnosis.
pub const DEAD_STREAM: &str = "DEAD";
/// The subjects that [`DEAD_STREAM`] stores: [`Shard::dead`] of every shard.
pub const ALL_DEAD: &str = "chat.*.dead.*";
/// The subject of gateways' heartbeats.
pub const GATEWAY_ALIVE: &str = "chat.gateway.alive";
/// The durable consumer with which `archive` reads a stream.
pub const ARCHIVE_CONSUMER: &str = "archive";
/// The header of a message's trace context (W3C Trace Context).
pub const TRACEPARENT: &str = "traceparent";

/// The subject of a room's stored events: publishing here stores an event.
pub fn stored(shards: Shards, room: RoomId) -> String {
    format!("chat.{}.in.{room}", shards.of(room).number())
}

/// The subject on which the stream republishes a room's events after storing them.
pub fn republished(shards: Shards, room: RoomId) -> String {
    format!("chat.{}.out.{room}", shards.of(room).number())
}

/// The subject of a room's ephemeral events: presence, typing, read and signal.
pub fn live(room: RoomId) -> String {
    format!("chat.live.{room}")
}

/// The subject of presence queries about a room ([`crate::presence`]). Only gateways that serve the room
/// listen: without any, NATS reports "no responders" at once.
pub fn online(room: RoomId) -> String {
    format!("chat.online.{room}")
}

/// The subject of message lookups in a room ([`crate::message_lookup`]).
pub fn sent(room: RoomId) -> String {
    format!("chat.sent.{room}")
}

/// The subject of the message lookups of all rooms, for the processes that reply.
pub const SENT_IN_ALL_ROOMS: &str = "chat.sent.*";
/// The queue group of those processes: each lookup goes to one of them.
pub const SENT_QUEUE: &str = "sent";

/// The room of a subject that [`sent`] built.
pub fn room_of_sent(subject: &str) -> Option<RoomId> {
    subject.strip_prefix("chat.sent.")?.parse().ok()
}

/// The subject of a user's read mark in a room.
pub fn read(shards: Shards, room: RoomId, user: UserId) -> String {
    format!("chat.{}.read.{room}.{user}", shards.of(room).number())
}

/// The meaning of a subject that a stream stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// Events of a room.
    Event(RoomId),
    /// A user's read mark in a room.
    Read(RoomId, UserId),
}

impl Stored {
    pub fn room(self) -> RoomId {
        match self {
            Self::Event(room) | Self::Read(room, _) => room,
        }
    }

    /// Parses a subject that [`stored`] or [`read`] built.
    pub fn parse(subject: &str) -> Option<Self> {
        let tokens: Vec<&str> = subject.split('.').collect();
        match tokens[..] {
            ["chat", _, "in", room] => Some(Self::Event(room.parse().ok()?)),
            ["chat", _, "read", room, user] => {
                Some(Self::Read(room.parse().ok()?, user.parse().ok()?))
            }
            _ => None,
        }
    }
}

/// The idempotency key (`Nats-Msg-Id`) of a message. NATS dedupes per stream, not per subject: without
/// user and room in the key, one user's id could block another's message.
pub fn message_id(user: UserId, room: RoomId, id: MessageId) -> String {
    format!("{user}:{room}:{id}")
}

/// The key of a complete file in [`FILES_BUCKET`].
pub fn file_key(room: RoomId, file: FileId) -> String {
    format!("{room}.{file}")
}

/// The subject that puts a key into a key-value bucket (ADR-8 of NATS). A put is an ordinary publish, so the
/// transactional outbox can store it.
pub fn bucket_put(bucket: &str, key: &str) -> String {
    format!("$KV.{bucket}.{key}")
}

/// The stream of a key-value bucket (ADR-8 of NATS).
pub fn bucket_stream(bucket: &str) -> String {
    format!("KV_{bucket}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_stays_on_its_shard() {
        let shards = Shards::new(16).unwrap();
        let room = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        assert_eq!(stored(shards, room), format!("chat.3.in.{room}"));
        assert_eq!(Stored::parse(&stored(shards, room)), Some(Stored::Event(room)));
        let user = UserId::generate();
        assert_eq!(Stored::parse(&read(shards, room, user)), Some(Stored::Read(room, user)));
        assert_eq!(Stored::parse(&republished(shards, room)), None);
        assert_eq!(room_of_sent(&sent(room)), Some(room));
        assert_eq!(room_of_sent("chat.sent.*"), None);
    }
}
