//! The decisions of a session on an event.

use std::time::Instant;

use protocol::{
    FileId, MessageId, RoomId, Seq, Timestamp, UserId,
    stored::{Person, StoredEvent},
};

use crate::ephemeral::EphemeralEvent;

/// The time of an event and a source of ids. Passed as an argument, so that a session needs neither a clock nor
/// a source of randomness.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Monotonic, for rate limits.
    pub now: Instant,
    /// The time that is stored in the event.
    pub at: Timestamp,
    /// Generates an id. Called only for events that are stored under a new id, because most events need none.
    pub new_id: fn() -> MessageId,
}

/// A decision: the worker performs it.
#[derive(Debug)]
pub enum Action {
    /// Ask the room to accept the socket.
    Join { room: RoomId, person: Person, after: Option<Seq> },
    /// Send the user's new display name to the room.
    Rename { room: RoomId, person: Person },
    /// Take the socket out of the room.
    Leave { room: RoomId },
    /// Store an event, if the objects that it refers to exist. `id` is JetStream's dedupe key. With `look_up`,
    /// the message may be a retry from before the dedupe window: it is stored only if a lookup shows that no
    /// earlier attempt was stored.
    Store { room: RoomId, id: String, event: StoredEvent, needs: Needs, look_up: bool },
    /// Store how far the user has read, unless `seq` is past the room's newest event. Then call
    /// [`super::Session::has_read`].
    Read { room: RoomId, seq: Seq },
    /// Send an event to the room's sockets on all gateways, and store nothing.
    Ephemeral { room: RoomId, event: EphemeralEvent },
    /// Verify this token, then call [`super::Session::refresh`].
    Refresh { token: String },
    /// Only acknowledge: nothing has changed.
    Ignore,
}

/// An object that must be looked up before an event is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    Nothing,
    /// A complete file of the room, to be put into the message.
    File(FileId),
    /// A message of the room, by this author if one is given.
    Message {
        seq: Seq,
        author: Option<UserId>,
    },
}
