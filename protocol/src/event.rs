//! Every event of the chat, as it stands on the wire. Reading this file is reading the protocol.
//!
//! Stored events, which have a place in their room's order, are in [`crate::stored`]; in a client's
//! hands they look like the others: `["<name>",{"roomId":…,…}]`.

use serde::{Deserialize, Deserializer, Serialize, de::Error};
use serde_json::value::RawValue;

use crate::{
    Code, DisplayName, Emoji, FileId, MessageId, MessageText, RoomId, Seq, Timestamp, UserId,
    code::Refusal,
    json,
    schema::{EventSchema, schema_of},
    stored::Person,
};

macro_rules! client_events {
    ($($(#[$doc:meta])* $variant:ident = $name:literal => $answer:ident { $($(#[$attr:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
            #[serde(rename_all = "camelCase", deny_unknown_fields)]
            pub struct $variant { $($(#[$attr])* pub $field: $type,)* }
        )*

        /// What a client may send.
        #[derive(Debug, Clone)]
        pub enum ClientEvent { $($(#[$doc])* $variant($variant),)* }

        impl ClientEvent {
            /// The names of all events, for documents, metrics and tests.
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

            /// Parses an event from its name and its one argument.
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
    /// Starts receiving a room's events. With `after`, first those missed since that seq.
    JoinRoom = "join-room" => Joined {
        room_id: RoomId,
        user_id: UserId,
        /// From `GET /room/{name}`.
        ticket: String,
        #[serde(default)]
        #[schema(value_type = Option<u64>)]
        after: Option<Seq>,
    }
    /// Stops receiving a room's events.
    LeaveRoom = "leave-room" => Nothing {
        room_id: RoomId,
    }
    /// Sets the caller's display name in the room.
    New = "new" => Nothing {
        room_id: RoomId,
        /// The name.
        msg: DisplayName,
    }
    /// Stores a message. Sent again with the same `id`, it is stored once.
    SendMsg = "send-msg" => Stored {
        room_id: RoomId,
        /// Shown with this message instead of the name in the room.
        #[serde(default)]
        name: Option<DisplayName>,
        msg: MessageText,
        /// Without one, a retry would be a new message.
        #[serde(default)]
        id: Option<MessageId>,
        #[serde(default)]
        file_id: Option<FileId>,
        #[serde(default)]
        #[schema(value_type = Option<u64>)]
        reply_to: Option<Seq>,
    }
    /// Changes a message's text; its author only.
    EditMsg = "edit-msg" => Stored {
        room_id: RoomId,
        #[schema(value_type = u64)]
        seq: Seq,
        msg: MessageText,
    }
    /// Deletes a message; its author or a moderator.
    DeleteMsg = "delete-msg" => Stored {
        room_id: RoomId,
        #[schema(value_type = u64)]
        seq: Seq,
    }
    /// Adds or takes back a reaction.
    React = "react" => Stored {
        room_id: RoomId,
        #[schema(value_type = u64)]
        seq: Seq,
        emoji: Emoji,
        on: bool,
    }
    /// Shows that the caller is typing; not stored.
    Typing = "typing" => Nothing {
        room_id: RoomId,
        on: bool,
    }
    /// Marks the room as read up to `seq`; it moves forward only.
    Read = "read" => Nothing {
        room_id: RoomId,
        #[schema(value_type = u64)]
        seq: Seq,
    }
    /// A notice to the whole room; owner or moderator.
    RoomBroadcast = "room-broadcast" => Stored {
        room_id: RoomId,
        msg: MessageText,
    }
    /// Relayed to one user's sockets in the room, for WebRTC.
    Signal = "signal" => Nothing {
        room_id: RoomId,
        to: UserId,
        /// Any JSON, nested no deeper than 64.
        #[serde(deserialize_with = "shallow")]
        #[schema(value_type = serde_json::Value)]
        data: Box<RawValue>,
    }
    /// A new access token for this socket, before the old one expires.
    Refresh = "refresh" => Nothing {
        token: String,
    }
}

fn refusal(bad: json::BadJson) -> Refusal {
    let is_room = bad.field.as_deref() == Some("roomId");
    let code = match bad.code {
        Code::InvalidValue | Code::WrongType if is_room => Code::BadRoomId,
        code => code,
    };
    Refusal::new(code, bad.to_string())
}

/// JSON that is passed on unread must not break the parser of who receives it.
fn shallow<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<RawValue>, D::Error> {
    const DEEPEST: usize = 64;
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
    if deepest > DEEPEST {
        return Err(D::Error::custom("nested deeper than 64"));
    }
    Ok(raw)
}

/// What the server sends that no stream holds.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ServerEvent {
    /// Who came and went since the last such event, and how many are there now.
    Presence {
        #[serde(rename = "roomId")]
        room_id: RoomId,
        count: usize,
        joined: Vec<Person>,
        left: Vec<Person>,
    },
    /// Somebody types, or stopped. Not sent in rooms of more than 100 users online.
    Typing {
        #[serde(rename = "roomId")]
        room_id: RoomId,
        user: Person,
        on: bool,
    },
    /// Up to where somebody has read. Not sent in rooms of more than 100 users online.
    Read {
        #[serde(rename = "roomId")]
        room_id: RoomId,
        user: UserId,
        #[schema(value_type = u64)]
        seq: Seq,
    },
    /// From one user to another, for WebRTC.
    Signal {
        #[serde(rename = "roomId")]
        room_id: RoomId,
        from: Person,
        #[schema(value_type = serde_json::Value)]
        data: Box<RawValue>,
    },
    /// This socket was too slow and left the room; join again with `after: last`.
    Lag {
        #[serde(rename = "roomId")]
        room_id: RoomId,
        #[schema(value_type = u64)]
        last: Seq,
    },
    /// This gateway is draining: open a second socket before the deadline, then close this one.
    Migrate { deadline: Timestamp },
    /// The socket is closed next.
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
        // Externally tagged: {"<name>":{…}}. No type here can fail to serialize.
        let object = serde_json::to_string(self).unwrap_or_default();
        match object.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(entry) => format!("[{}]", entry.replacen("\":", "\",", 1)),
            None => String::new(),
        }
    }
}

/// Who is in a room at this moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Online {
    /// Users, each counted once however many sockets they have.
    pub count: usize,
    /// At most [`crate::limits::ONLINE_USERS_LISTED`] of them.
    pub users: Vec<Person>,
}

/// What an acknowledgement says when all went well; `{ok: true}` and these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Done {
    Joined(Joined),
    Stored(Stored),
    Nothing(Nothing),
}

/// The socket is in the room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Joined {
    /// The seq of the room's newest event.
    #[schema(value_type = u64)]
    pub head: Seq,
    pub online: Online,
    /// False when what was missed since `after` must be paged by HTTP.
    pub recovered: bool,
}

/// The event has its place in the room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Stored {
    #[schema(value_type = u64)]
    pub seq: Seq,
    pub at: Timestamp,
    /// It was stored by an earlier try with the same id.
    pub duplicate: bool,
}

/// There is nothing to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Nothing {}

impl Done {
    /// There is nothing to say.
    pub const NOTHING: Self = Self::Nothing(Nothing {});
}

/// The one argument of an acknowledgement.
pub fn encode_ack(outcome: &Result<Done, Refusal>) -> String {
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Ack<'a> {
        Ok {
            ok: bool,
            #[serde(flatten)]
            done: &'a Done,
        },
        Refused {
            ok: bool,
            error: &'a Refusal,
        },
    }
    let ack = match outcome {
        Ok(done) => Ack::Ok { ok: true, done },
        Err(error) => Ack::Refused { ok: false, error },
    };
    serde_json::to_string(&ack).unwrap_or_default()
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

    #[test]
    fn server_events_and_acks_look_as_the_contract_says() {
        let room_id = ROOM.parse().unwrap();
        assert_eq!(
            ServerEvent::Lag { room_id, last: 7.into() }.encode(),
            format!(r#"["lag",{{"roomId":"{ROOM}","last":7}}]"#)
        );
        let online = Online { count: 0, users: vec![] };
        let joined = Done::Joined(Joined { head: 3.into(), online, recovered: true });
        assert_eq!(
            encode_ack(&Ok(joined)),
            r#"{"ok":true,"head":3,"online":{"count":0,"users":[]},"recovered":true}"#
        );
        assert_eq!(encode_ack(&Ok(Done::NOTHING)), r#"{"ok":true}"#);
        assert_eq!(
            encode_ack(&Err(Refusal::new(Code::NotJoined, "join first"))),
            r#"{"ok":false,"error":{"code":"not-joined","detail":"join first"}}"#
        );
    }

    proptest! {
        #[test]
        fn hostile_events_are_refused_without_panic(
            name in prop::sample::select(ClientEvent::NAMES),
            data: Vec<u8>,
            json in "\\{\"(roomId|msg|seq|on)\":[\\[{\"0-9a-z,:}\\]]{0,20}\\}?",
        ) {
            let _ = ClientEvent::parse(name, &data);
            let _ = ClientEvent::parse(name, json.as_bytes());
        }
    }
}
