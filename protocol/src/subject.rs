//! NATS subjects, streams, buckets and message ids. Only parsed ids and numbers enter a subject, so
//! nothing from outside can widen one.

use serde::{Deserialize, Serialize};

use crate::{FileId, MessageId, Role, RoomId, Seq, SessionId, UserId};

/// The key-value bucket of what is no longer valid before its token expires.
pub const REVOKED_BUCKET: &str = "revoked";
/// The key-value bucket of complete files that a message may name.
pub const FILES_BUCKET: &str = "files";
/// The key-value bucket of the oldest event of a room that its stream still holds for certain: the
/// key is the room's id, the value the event's seq in decimal. Written before what is older is purged,
/// so a room without a key has all its events. It never expires: nor does a purge.
///
/// The name of a stream is a key too: no event up to its value is in that stream, which was made anew
/// when what it held was lost.
pub const PURGED_BUCKET: &str = "purged";
/// Where the stream of [`REVOKED_BUCKET`] republishes its entries: `chat.revoked.<key>`.
pub const REVOKED_NEWS: &str = "chat.revoked.>";
/// The prefix of JetStream's API for all but `provision`, who reach some of it through imports of their NATS
/// accounts.
pub const ARCHIVE_API: &str = "JS.CHAT.API";
/// The stream of events that the archive could not store, kept for whoever looks into the fault.
pub const DEAD_STREAM: &str = "DEAD";
/// All that [`DEAD_STREAM`] stores: [`Shard::dead`] of every shard.
pub const ALL_DEAD: &str = "chat.*.dead.*";
/// Gateways announce themselves here.
pub const GATEWAY_ALIVE: &str = "chat.gateway.alive";
/// The durable consumer with which `archive` reads a stream.
pub const ARCHIVE_CONSUMER: &str = "archive";
/// Answers in a message's headers which trace it belongs to (W3C Trace Context).
pub const TRACEPARENT: &str = "traceparent";

/// How many streams the rooms are spread over: one Raft leader is not the ceiling of the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shards(u16);

impl Shards {
    /// At least one.
    pub fn new(count: u16) -> Option<Self> {
        (count > 0).then_some(Self(count))
    }

    /// Every shard.
    pub fn all(self) -> impl Iterator<Item = Shard> {
        (0..self.0).map(Shard)
    }

    /// The shard of a room: the same on every machine and in every version. FNV-1a over the id.
    pub fn of(self, room: RoomId) -> Shard {
        let hash =
            room.as_uuid().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
            });
        Shard((hash % u64::from(self.0)) as u16)
    }
}

/// One stream's share of the rooms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shard(u16);

impl Shard {
    /// Its place among [`Shards::all`].
    pub fn index(self) -> usize {
        self.0.into()
    }

    /// `CHAT_<shard>`: the stream that holds the stored events of its rooms.
    pub fn stream(self) -> String {
        format!("CHAT_{}", self.0)
    }

    /// All that the stream stores.
    pub fn stored_by_all_rooms(self) -> String {
        format!("chat.{}.in.*", self.0)
    }

    /// How far users have read, stored in the same stream and not republished.
    pub fn reads_of_all_rooms(self) -> String {
        format!("chat.{}.read.*.*", self.0)
    }

    /// Where the archive puts the shard's event of this seq when it cannot be stored.
    pub fn dead(self, seq: Seq) -> String {
        format!("chat.{}.dead.{seq}", self.0)
    }

    /// Where the stream republishes what it stored, in NATS's mapping notation.
    pub fn republished(self) -> String {
        format!("chat.{}.out.{{{{wildcard(1)}}}}", self.0)
    }
}

/// Where a room's events are published to be stored.
pub fn stored(shards: Shards, room: RoomId) -> String {
    format!("chat.{}.in.{room}", shards.of(room).0)
}

/// Where the stream republishes a room's events once they are stored.
pub fn republished(shards: Shards, room: RoomId) -> String {
    format!("chat.{}.out.{room}", shards.of(room).0)
}

/// Where a room's events go that are not stored: presence, typing, read, signal.
pub fn live(room: RoomId) -> String {
    format!("chat.live.{room}")
}

/// Where functions ask who is online in a room ([`crate::presence`]). Only gateways with a task for
/// the room listen: without any, NATS says at once that nobody does.
pub fn online(room: RoomId) -> String {
    format!("chat.online.{room}")
}

/// Where gateways, which have no database, ask whether a message was sent before ([`crate::message_lookup`]).
pub fn sent(room: RoomId) -> String {
    format!("chat.sent.{room}")
}

/// All of [`sent`], for those who answer.
pub const SENT_IN_ALL_ROOMS: &str = "chat.sent.*";
/// The queue group of those who answer: one of them gets a question.
pub const SENT_QUEUE: &str = "sent";

/// The room of a subject that [`sent`] made.
pub fn room_of_sent(subject: &str) -> Option<RoomId> {
    subject.strip_prefix("chat.sent.")?.parse().ok()
}

/// Where is stored how far a user has read a room.
pub fn read(shards: Shards, room: RoomId, user: UserId) -> String {
    format!("chat.{}.read.{room}.{user}", shards.of(room).0)
}

/// What a stream stores on a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// An event of a room.
    Event(RoomId),
    /// How far a user has read a room.
    Read(RoomId, UserId),
}

impl Stored {
    /// The room that it is of.
    pub fn room(self) -> RoomId {
        match self {
            Self::Event(room) | Self::Read(room, _) => room,
        }
    }

    /// Reads a subject that [`stored`] or [`read`] made.
    pub fn parse(subject: &str) -> Option<Self> {
        let parts: Vec<&str> = subject.split('.').collect();
        match parts[..] {
            ["chat", _, "in", room] => Some(Self::Event(room.parse().ok()?)),
            ["chat", _, "read", room, user] => {
                Some(Self::Read(room.parse().ok()?, user.parse().ok()?))
            }
            _ => None,
        }
    }
}

/// `Nats-Msg-Id` of a message. NATS dedupes per stream, not per subject: without user and room in
/// it, one user's id could block another's message.
pub fn message_id(user: UserId, room: RoomId, id: MessageId) -> String {
    format!("{user}:{room}:{id}")
}

/// Where a file's description is put once it is complete, as a subject of the bucket's stream.
pub fn file_key(room: RoomId, file: FileId) -> String {
    format!("{room}.{file}")
}

/// What a key of [`REVOKED_BUCKET`] revokes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Revoked {
    /// A room was deleted.
    Room(RoomId),
    /// A session was logged out or revoked.
    Session(SessionId),
    /// An account was deleted.
    User(UserId),
    /// What a user is in a room has changed; the value is a [`MemberState`].
    Member(RoomId, UserId),
}

impl Revoked {
    /// The key in the bucket.
    pub fn key(self) -> String {
        match self {
            Self::Room(room) => format!("room.{room}"),
            Self::Session(session) => format!("session.{session}"),
            Self::User(user) => format!("user.{user}"),
            Self::Member(room, user) => format!("member.{room}.{user}"),
        }
    }

    /// Reads a key; none for one that a newer version wrote.
    pub fn parse(key: &str) -> Option<Self> {
        let mut parts = key.split('.');
        let parsed = match (parts.next()?, parts.next()?, parts.next()) {
            ("room", room, None) => Self::Room(room.parse().ok()?),
            ("session", session, None) => Self::Session(session.parse().ok()?),
            ("user", user, None) => Self::User(user.parse().ok()?),
            ("member", room, Some(user)) => Self::Member(room.parse().ok()?, user.parse().ok()?),
            _ => return None,
        };
        parts.next().is_none().then_some(parsed)
    }
}

/// What a user is in a room since the room's `version`, which every removal and every change of a
/// role raises. Ordered by it alone, never by a clock: a ticket or a state of a lower version is
/// older, and what is older counts no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberState {
    pub version: u64,
    /// None for one who was removed or banned, or has left. Written out as `null`: a value that lost
    /// it is not taken for a removal.
    #[serde(deserialize_with = "Option::deserialize")]
    pub role: Option<Role>,
}

/// A value that no version of this code wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the state of a member")]
pub struct NotAMemberState;

impl MemberState {
    /// The value in the bucket.
    pub fn encode(self) -> Vec<u8> {
        serde_json::to_vec(&self).unwrap_or_default()
    }

    /// Reads a value.
    pub fn decode(value: &[u8]) -> Result<Self, NotAMemberState> {
        serde_json::from_slice(value).map_err(|_| NotAMemberState)
    }
}

/// The subject that puts `key` into a key-value `bucket` (ADR-8 of NATS), so that a put is a
/// publish like any other and can wait in the outbox.
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
    fn a_revocation_is_the_same_after_its_key() {
        let (room, user, session) = (RoomId::generate(), UserId::generate(), SessionId::generate());
        for revoked in [
            Revoked::Room(room),
            Revoked::Session(session),
            Revoked::User(user),
            Revoked::Member(room, user),
        ] {
            assert_eq!(Revoked::parse(&revoked.key()), Some(revoked));
        }
        assert_eq!(Revoked::parse("room.x"), None);
        assert_eq!(Revoked::parse(&format!("room.{room}.{user}")), None);
    }

    #[test]
    fn a_member_state_is_written_as_agreed() {
        let removed = MemberState { version: 7, role: None };
        assert_eq!(removed.encode(), br#"{"version":7,"role":null}"#);
        let promoted = MemberState { version: 8, role: Some(Role::Moderator) };
        assert_eq!(promoted.encode(), br#"{"version":8,"role":"moderator"}"#);
        for value in ["", r#"{"version":7}"#, r#"{"role":null}"#, r#"{"version":-1,"role":null}"#] {
            assert_eq!(MemberState::decode(value.as_bytes()), Err(NotAMemberState), "{value}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_member_state_is_the_same_after_the_bucket(version: u64, role in 0..4_usize) {
            let role = [None, Some(Role::Member), Some(Role::Moderator), Some(Role::Owner)][role];
            let state = MemberState { version, role };
            proptest::prop_assert_eq!(MemberState::decode(&state.encode()), Ok(state));
        }

        #[test]
        fn hostile_member_states_are_refused_without_panic(value: Vec<u8>) {
            let _ = MemberState::decode(&value);
        }
    }

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
