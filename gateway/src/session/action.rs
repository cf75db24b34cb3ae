//! What a session decides on an event.

use std::time::Instant;

use protocol::{
    FileId, MessageId, RoomId, Seq, Timestamp, UserId,
    stored::{Person, StoredEvent},
};

use crate::ephemeral::EphemeralEvent;

/// The time of an event, on both clocks, and a new message id. Arguments, so that a session needs neither
/// a clock nor a source of randomness.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    pub now: Instant,
    pub at: Timestamp,
    pub new_id: MessageId,
}

/// What to do about an event.
#[derive(Debug)]
pub enum Action {
    /// Ask the room to accept the socket.
    Join { room: RoomId, person: Person, after: Option<Seq> },
    /// Tell the room the user's new display name.
    Rename { room: RoomId, person: Person },
    /// Tell the room that the socket left.
    Leave { room: RoomId },
    /// Store an event, if what it needs exists. `id` is JetStream's dedupe key. With `look_up` the message
    /// may be a retry from before the dedupe window: it is stored only if it is certain that no earlier
    /// try was.
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

/// What must be looked up before an event is stored.
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
