//! Events that clients send.

use serde::{Deserialize, Deserializer, de::Error};
use serde_json::value::RawValue;

use super::ack::{Empty, Joined, Stored};
use crate::{
    Code, DisplayName, Emoji, FileId, MessageId, MessageText, RoomId, Seq, UserId,
    code::Refusal,
    json,
    schema::{EventSchema, schema_of},
};

macro_rules! client_events {
    ($($(#[$doc:meta])* $variant:ident = $name:literal => $answer:ident {
        $($(#[$attr:meta])* $field:ident: $type:ty,)*
    })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
            #[serde(rename_all = "camelCase", deny_unknown_fields)]
            pub struct $variant { $($(#[$attr])* pub $field: $type,)* }
        )*

        /// A parsed client event.
        #[derive(Debug, Clone)]
        pub enum ClientEvent { $($(#[$doc])* $variant($variant),)* }

        impl ClientEvent {
            /// The names of all events.
            pub const NAMES: &'static [&'static str] = &[$($name,)*];

            /// The schemas of all events, for [`crate::asyncapi`].
            pub(crate) fn schemas() -> Vec<EventSchema> {
                vec![$(EventSchema {
                    name: $name,
                    schema: schema_of::<$variant>,
                    answer: schema_of::<$answer>,
                },)*]
            }

            /// The event's name on the wire.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name,)* }
            }

            /// Parses an event from its name and its single argument, a JSON object.
            pub fn parse(name: &str, data: &[u8]) -> Result<Self, Refusal> {
                match name {
                    $($name => json::parse(data).map(Self::$variant).map_err(refusal),)*
                    _ => Err(Refusal::new(Code::UnknownEvent, "there is no such event")),
                }
            }
        }
    };
}

client_events! {
    /// Starts receiving a room's events. With `after`, the events since that seq are replayed first.
    JoinRoom = "join-room" => Joined {
        room_id: RoomId,
        user_id: UserId,
        /// From the answer to `GET /room/{name}`.
        ticket: String,
        #[serde(default)]
        #[schema(value_type = Option<u64>)]
        after: Option<Seq>,
    }
    /// Stops receiving a room's events.
    LeaveRoom = "leave-room" => Empty {
        room_id: RoomId,
    }
    /// Sets the caller's display name in the room.
    New = "new" => Empty {
        room_id: RoomId,
        /// The display name.
        msg: DisplayName,
    }
    /// Stores a message. Sent again with the same `id`, it is stored once.
    SendMsg = "send-msg" => Stored {
        room_id: RoomId,
        /// The display name of this message only, instead of the name in the room.
        #[serde(default)]
        name: Option<DisplayName>,
        msg: MessageText,
        /// The idempotency key. Without it, a retry stores a second message.
        #[serde(default)]
        id: Option<MessageId>,
        #[serde(default)]
        file_id: Option<FileId>,
        #[serde(default)]
        #[schema(value_type = Option<u64>)]
        reply_to: Option<Seq>,
    }
    /// Changes a message's text. For its author only.
    EditMsg = "edit-msg" => Stored {
        room_id: RoomId,
        #[schema(value_type = u64)]
        seq: Seq,
        msg: MessageText,
    }
    /// Deletes a message. For its author and for moderators.
    DeleteMsg = "delete-msg" => Stored {
        room_id: RoomId,
        #[schema(value_type = u64)]
        seq: Seq,
    }
    /// Adds or removes a reaction.
    React = "react" => Stored {
        room_id: RoomId,
        #[schema(value_type = u64)]
        seq: Seq,
        emoji: Emoji,
        on: bool,
    }
    /// Shows that the caller is typing. Not stored.
    Typing = "typing" => Empty {
        room_id: RoomId,
        on: bool,
    }
    /// Marks the room as read up to `seq`. The mark moves forward only.
    Read = "read" => Empty {
        room_id: RoomId,
        #[schema(value_type = u64)]
        seq: Seq,
    }
    /// Sends a notice to the whole room. For owners and moderators.
    RoomBroadcast = "room-broadcast" => Stored {
        room_id: RoomId,
        msg: MessageText,
    }
    /// Sends WebRTC signalling to all sockets of one user in the room.
    Signal = "signal" => Empty {
        room_id: RoomId,
        to: UserId,
        /// Any JSON, nested at most 64 levels deep.
        #[serde(deserialize_with = "shallow")]
        #[schema(value_type = serde_json::Value)]
        data: Box<RawValue>,
    }
    /// Replaces the socket's access token before it expires.
    Refresh = "refresh" => Empty {
        token: String,
    }
}

fn refusal(bad: json::JsonError) -> Refusal {
    let is_room = bad.field.as_deref() == Some("roomId");
    let code = match bad.code {
        Code::InvalidValue | Code::WrongType if is_room => Code::BadRoomId,
        code => code,
    };
    Refusal::new(code, bad.to_string())
}

/// Deserializes JSON that is relayed unparsed, and limits its nesting, because deep nesting breaks parsers of
/// receivers.
fn shallow<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<RawValue>, D::Error> {
    const LEVELS: usize = 64;
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in raw.get().bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_text,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => depth += 1,
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    if deepest > LEVELS {
        return Err(D::Error::custom("nested deeper than 64"));
    }
    Ok(raw)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ROOM: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    fn signal(data: &str) -> String {
        format!(r#"{{"roomId":"{ROOM}","to":"{ROOM}","data":{data}}}"#)
    }

    #[test]
    fn brackets_in_texts_are_not_nesting() {
        let text = format!("[{}]", serde_json::json!("[\\\"{".repeat(100)));
        for data in [text, format!("{}{}", "[".repeat(64), "]".repeat(64))] {
            let event = ClientEvent::parse("signal", signal(&data).as_bytes());
            assert!(matches!(event, Ok(ClientEvent::Signal(signal)) if signal.data.get() == data));
        }
    }

    #[test]
    fn bad_events_have_their_codes() {
        let cases = [
            ("shout", "{}".to_owned(), Code::UnknownEvent),
            ("leave-room", r#"{"roomId":"a.b"}"#.into(), Code::BadRoomId),
            ("leave-room", r#"{"roomId":"chat.>"}"#.into(), Code::BadRoomId),
            ("leave-room", r#"{"roomId":"a b"}"#.into(), Code::BadRoomId),
            ("leave-room", r#"{"roomId":7}"#.into(), Code::BadRoomId),
            ("leave-room", "{}".into(), Code::MissingField),
            ("leave-room", "null".into(), Code::WrongType),
            ("leave-room", r#"{"roomId":"#.into(), Code::MalformedJson),
            ("leave-room", format!(r#"{{"roomId":"{ROOM}","x":1}}"#), Code::UnknownField),
            ("send-msg", format!(r#"{{"roomId":"{ROOM}","msg":1}}"#), Code::WrongType),
            ("send-msg", format!(r#"{{"roomId":"{ROOM}","msg":"","id":"x"}}"#), Code::InvalidValue),
            ("new", format!(r#"{{"roomId":"{ROOM}","msg":" "}}"#), Code::InvalidValue),
            (
                "read",
                format!(r#"{{"roomId":"{ROOM}","seq":9007199254740992}}"#),
                Code::InvalidValue,
            ),
            ("read", format!(r#"{{"roomId":"{ROOM}","seq":1,"seq":2}}"#), Code::DuplicateField),
            (
                "signal",
                signal(&format!("{}{}", "[".repeat(65), "]".repeat(65))),
                Code::InvalidValue,
            ),
            (
                "signal",
                signal(&format!("{}1{}", "{\"a\":".repeat(65), "}".repeat(65))),
                Code::InvalidValue,
            ),
        ];
        for (name, data, code) in cases {
            let refusal = ClientEvent::parse(name, data.as_bytes()).unwrap_err();
            assert_eq!(refusal.code, code, "{name} {data}: {refusal}");
        }
    }

    proptest! {
        #[test]
        fn malformed_events_are_refused_with_a_code_of_their_shape(
            name in prop::sample::select(ClientEvent::NAMES),
            data: Vec<u8>,
            json in "\\{\"(roomId|msg|seq|on)\":[\\[{\"0-9a-z,:}\\]]{0,20}\\}?",
        ) {
            for data in [&data[..], json.as_bytes()] {
                let code = ClientEvent::parse(name, data).map(drop).map_err(|refusal| refusal.code);
                let is_of_shape = matches!(
                    code,
                    Err(Code::MalformedJson
                        | Code::WrongType
                        | Code::UnknownField
                        | Code::MissingField
                        | Code::DuplicateField
                        | Code::InvalidValue
                        | Code::BadRoomId
                        | Code::MessageEmpty)
                );
                prop_assert!(is_of_shape, "{code:?}");
            }
        }
    }
}
