//! Commands to a room's task.

use protocol::{Emoji, Seq, UserId, stored::Person, subject::MemberState};
use tokio::sync::oneshot;

use crate::{ephemeral::GatewayId, wire::sid::SocketRef};

/// A command to a room's task.
#[derive(Debug)]
pub enum RoomCommand {
    /// A socket joins. `after` is the newest event that its client has received.
    Join { socket: SocketRef, person: Person, after: Option<Seq>, ack: Option<u64> },
    /// A socket of a worker left.
    Leave { worker: usize, user: UserId },
    /// A user has a new display name in the room.
    Rename { person: Person },
    /// A user's membership changed.
    Member { user: UserId, state: MemberState },
    /// The room was deleted. Usually its last event is published shortly before or after.
    Deleted,
    /// Another gateway has stopped or failed: its users are removed from the room's presence.
    GatewayLost { gateway: GatewayId },
    /// Checks whether a reaction with this emoji would exceed the number of kinds that a message may have.
    CheckReaction { target: Seq, emoji: Emoji, respond: oneshot::Sender<bool> },
}
