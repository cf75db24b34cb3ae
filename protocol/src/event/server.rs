//! Events that the server sends without storing them in a stream.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::{Code, RoomId, Seq, Timestamp, UserId, stored::Person};

/// An ephemeral event: it is sent once and not stored.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ServerEvent {
    /// The users that came online or went offline since the last `presence` event, and how many are
    /// online now.
    Presence {
        #[serde(rename = "roomId")]
        room_id: RoomId,
        count: usize,
        joined: Vec<Person>,
        left: Vec<Person>,
    },
    /// A user is typing, or stopped typing. Not sent in rooms with more than 100 users online.
    Typing {
        #[serde(rename = "roomId")]
        room_id: RoomId,
        user: Person,
        on: bool,
    },
    /// How far a user has read. Not sent in rooms with more than 100 users online.
    Read {
        #[serde(rename = "roomId")]
        room_id: RoomId,
        user: UserId,
        #[schema(value_type = u64)]
        seq: Seq,
    },
    /// WebRTC signalling from another user.
    Signal {
        #[serde(rename = "roomId")]
        room_id: RoomId,
        from: Person,
        #[schema(value_type = serde_json::Value)]
        data: Box<RawValue>,
    },
    /// This socket was too slow and has left the room: join again with `after: last`.
    Lag {
        #[serde(rename = "roomId")]
        room_id: RoomId,
        #[schema(value_type = u64)]
        last: Seq,
    },
    /// This gateway is draining: open a second socket before the deadline, then close this one.
    Migrate { deadline: Timestamp },
    /// The server is about to close the socket.
    SessionExpired { code: Code },
}

impl ServerEvent {
    /// The event's name on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Presence { .. } => "presence",
            Self::Typing { .. } => "typing",
            Self::Read { .. } => "read",
            Self::Signal { .. } => "signal",
            Self::Lag { .. } => "lag",
            Self::Migrate { .. } => "migrate",
            Self::SessionExpired { .. } => "session-expired",
        }
    }

    /// The event as the array of a Socket.IO packet: `["<name>",{…}]`.
    pub fn encode(&self) -> String {
        // The externally tagged form is {"<name>":{…}}. None of these types can fail to serialize.
        let object = serde_json::to_string(self).unwrap_or_default();
        match object.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(entry) => format!("[{}]", entry.replacen("\":", "\",", 1)),
            None => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_encoded_as_an_array() {
        let room_id = RoomId::generate();
        assert_eq!(
            ServerEvent::Lag { room_id, last: 7.into() }.encode(),
            format!(r#"["lag",{{"roomId":"{room_id}","last":7}}]"#)
        );
    }
}
