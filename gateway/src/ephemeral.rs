//! Ephemeral events: messages between gateways about a room, sent over core NATS and never stored.

use protocol::{RoomId, Seq, UserId, event::ServerEvent, stored::Person};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Identifies a gateway process: random, chosen at its start.
pub type GatewayId = uuid::Uuid;

/// A message on `chat.live.<room>`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EphemeralEvent {
    Presence(Gossip),
    Typing { user: Person, on: bool },
    Read { user: UserId, seq: Seq },
    Signal { from: Person, to: UserId, data: Box<RawValue> },
}

/// Messages between gateways about the users in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "presence", rename_all = "kebab-case")]
pub enum Gossip {
    /// Asks all other gateways for their users.
    Ask { gateway: GatewayId },
    /// A gateway's users, in one or several messages; `first` starts a new list.
    All { gateway: GatewayId, first: bool, users: Vec<Person> },
    /// Users who joined or left the room on one gateway.
    Change { gateway: GatewayId, joined: Vec<Person>, left: Vec<UserId> },
}

/// The receivers of an ephemeral event, with its form for them.
#[derive(Debug)]
pub enum Audience {
    /// Gateways only.
    Gateways(Gossip),
    /// All sockets in the room.
    Everyone(ServerEvent),
    /// One user's sockets in the room.
    User(UserId, ServerEvent),
}

impl EphemeralEvent {
    /// The receivers of the event in `room_id`.
    pub fn audience(self, room_id: RoomId) -> Audience {
        match self {
            Self::Presence(gossip) => Audience::Gateways(gossip),
            Self::Typing { user, on } => {
                Audience::Everyone(ServerEvent::Typing { room_id, user, on })
            }
            Self::Read { user, seq } => {
                Audience::Everyone(ServerEvent::Read { room_id, user, seq })
            }
            Self::Signal { from, to, data } => {
                Audience::User(to, ServerEvent::Signal { room_id, from, data })
            }
        }
    }
}
