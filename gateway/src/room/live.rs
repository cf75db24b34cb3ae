//! What gateways tell each other about a room over core NATS, never stored.

use protocol::{RoomId, UserId, event::ServerEvent, stored::Person};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::presence::Gossip;

/// A message on `chat.live.<room>`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Live {
    Presence(Gossip),
    Typing { user: Person, on: bool },
    Read { user: UserId, seq: u64 },
    Signal { from: Person, to: UserId, data: Box<RawValue> },
}

/// Who hears of it.
#[derive(Debug)]
pub enum Heard {
    /// Gateways only.
    Gateways(Gossip),
    /// All sockets in the room.
    All(ServerEvent),
    /// One user's sockets in the room.
    User(UserId, ServerEvent),
}

impl Live {
    /// Sorts a message of `room` by who is to hear it.
    pub fn heard(self, room_id: RoomId) -> Heard {
        match self {
            Self::Presence(gossip) => Heard::Gateways(gossip),
            Self::Typing { user, on } => Heard::All(ServerEvent::Typing { room_id, user, on }),
            Self::Read { user, seq } => Heard::All(ServerEvent::Read { room_id, user, seq }),
            Self::Signal { from, to, data } => {
                Heard::User(to, ServerEvent::Signal { room_id, from, data })
            }
        }
    }
}
