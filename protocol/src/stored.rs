//! Stored events: the payloads in a room's stream, and their form for clients.
//!
//! A payload is the JSON text `["<name>",{…}]`. It has no `roomId`, `seq` and `prev`, which the stream
//! assigns. For delivery, [`RawEvent::with_position`] inserts them before the other fields without parsing
//! those.

use serde::{Deserialize, Serialize};

use crate::{
    DisplayName, Emoji, FileId, MessageId, MessageText, RoomId, RoomTitle, Seq, Timestamp, UserId,
    name::Stored,
};

/// A user as others see them. `id` is verified by a token; `name` is chosen by the user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Person {
    pub id: UserId,
    #[serde(deserialize_with = "Stored::deserialize_stored")]
    pub name: DisplayName,
}

/// A complete file in a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FileRef {
    pub id: FileId,
    /// The name that the uploader declared, for display and download only.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// The declared media type. That of a file that is shown inline was checked against its content.
    #[serde(rename = "type")]
    pub media_type: String,
}

/// A message as its author sent it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    pub id: MessageId,
    pub from: Person,
    pub msg: MessageText,
    pub at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileRef>,
    /// The seq of the message that this one replies to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub reply_to: Option<Seq>,
}

/// An event in a room's stream. `at` is when the server accepted it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "0", content = "1", rename_all = "kebab-case")]
pub enum StoredEvent {
    ReceiveMsg(Message),
    /// `target` is the seq of the edited message; `seq` is that of this event.
    MsgEdited {
        #[schema(value_type = u64)]
        target: Seq,
        msg: MessageText,
        by: UserId,
        at: Timestamp,
    },
    MsgDeleted {
        #[schema(value_type = u64)]
        target: Seq,
        by: UserId,
        at: Timestamp,
    },
    Reaction {
        #[schema(value_type = u64)]
        target: Seq,
        #[serde(deserialize_with = "Stored::deserialize_stored")]
        emoji: Emoji,
        on: bool,
        by: Person,
        at: Timestamp,
    },
    RoomBroadcast {
        from: Person,
        msg: MessageText,
        at: Timestamp,
    },
    MemberJoined {
        user: Person,
        at: Timestamp,
    },
    MemberLeft {
        user: Person,
        at: Timestamp,
    },
    MemberRemoved {
        user: Person,
        by: UserId,
        banned: bool,
        at: Timestamp,
    },
    RoomUpdated {
        #[serde(default, deserialize_with = "Stored::deserialize_stored")]
        title: Option<RoomTitle>,
        private: bool,
        by: UserId,
        at: Timestamp,
    },
    RoomDeleted {
        by: UserId,
        at: Timestamp,
    },
}

/// A read mark: how far a user has read a room. Stored in the same stream as the room's events, on a separate
/// subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadMark {
    pub seq: Seq,
}

impl ReadMark {
    /// The payload in the stream.
    pub fn encode(self) -> Vec<u8> {
        serde_json::to_vec(&self).unwrap_or_default()
    }

    /// Parses a payload.
    pub fn decode(payload: &[u8]) -> Result<Self, StoredEventError> {
        serde_json::from_slice(payload).map_err(|_| StoredEventError)
    }
}

/// The position of an event in its room: its seq, and the seq of the room's previous event ([`Seq::ZERO`] for
/// none). Only the stream assigns them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub seq: Seq,
    pub prev: Seq,
}

/// A payload that is not an event or read mark of any known version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a stored event")]
pub struct StoredEventError;

/// A stored event, split into its name and its unparsed fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawEvent<'a> {
    /// The event's name on the wire.
    pub name: &'a str,
    /// The text of the JSON object after its opening brace, including the closing one.
    fields: &'a str,
}

impl StoredEvent {
    /// The payload in the stream.
    pub fn encode(&self) -> Vec<u8> {
        // The adjacently tagged form is {"0":name,"1":fields}; Socket.IO's is an array.
        let object = serde_json::to_value(self).unwrap_or_default();
        format!("[{},{}]", object["0"], object["1"]).into_bytes()
    }

    /// Parses a payload.
    pub fn decode(payload: &[u8]) -> Result<Self, StoredEventError> {
        let raw = RawEvent::parse(payload)?;
        let object = format!(r#"{{"0":"{}","1":{{{}}}"#, raw.name, raw.fields);
        serde_json::from_str(&object).map_err(|_| StoredEventError)
    }

    /// When the server accepted it.
    pub fn at(&self) -> Timestamp {
        match self {
            Self::ReceiveMsg(message) => message.at,
            Self::MsgEdited { at, .. }
            | Self::MsgDeleted { at, .. }
            | Self::Reaction { at, .. }
            | Self::RoomBroadcast { at, .. }
            | Self::MemberJoined { at, .. }
            | Self::MemberLeft { at, .. }
            | Self::MemberRemoved { at, .. }
            | Self::RoomUpdated { at, .. }
            | Self::RoomDeleted { at, .. } => *at,
        }
    }
}

impl<'a> RawEvent<'a> {
    /// Splits a payload without parsing its fields.
    pub fn parse(payload: &'a [u8]) -> Result<Self, StoredEventError> {
        let text = std::str::from_utf8(payload).map_err(|_| StoredEventError)?;
        let rest = text.strip_prefix("[\"").ok_or(StoredEventError)?;
        let (name, rest) = rest.split_once("\",{").ok_or(StoredEventError)?;
        let is_name = name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        let fields =
            rest.strip_suffix(']').filter(|rest| rest.ends_with('}')).ok_or(StoredEventError)?;
        if !is_name || fields.len() < 2 {
            return Err(StoredEventError);
        }
        Ok(Self { name, fields })
    }

    /// The event as a client receives it: `["<name>",{"roomId":…,"seq":…,"prev":…,…}]`.
    pub fn with_position(&self, room: RoomId, position: Position) -> String {
        let Position { seq, prev } = position;
        let Self { name, fields } = self;
        format!(r#"["{name}",{{"roomId":"{room}","seq":{seq},"prev":{prev},{fields}]"#)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person() -> Person {
        Person { id: UserId::generate(), name: DisplayName::parse("에이다 \"A\"").unwrap() }
    }

    #[test]
    fn every_stored_event_round_trips() {
        let (at, by) = (Timestamp::now(), UserId::generate());
        let msg = MessageText::parse("안녕 \"],[{ \u{1F44D}\n").unwrap();
        let emoji = Emoji::parse("👍").unwrap();
        let file = FileRef {
            id: FileId::generate(),
            name: "a\"b.png".into(),
            size: 1 << 40,
            media_type: "image/png".into(),
        };
        let events = [
            StoredEvent::ReceiveMsg(Message {
                id: MessageId::generate(),
                from: person(),
                msg: msg.clone(),
                at,
                file: Some(file),
                reply_to: Some(7.into()),
            }),
            StoredEvent::MsgEdited { target: 1.into(), msg: msg.clone(), by, at },
            StoredEvent::MsgDeleted { target: 1.into(), by, at },
            StoredEvent::Reaction { target: 1.into(), emoji, on: true, by: person(), at },
            StoredEvent::RoomBroadcast { from: person(), msg, at },
            StoredEvent::MemberJoined { user: person(), at },
            StoredEvent::MemberLeft { user: person(), at },
            StoredEvent::MemberRemoved { user: person(), by, banned: true, at },
            StoredEvent::RoomUpdated { title: None, private: true, by, at },
            StoredEvent::RoomDeleted { by, at },
        ];
        let room = RoomId::generate();
        for event in events {
            let payload = event.encode();
            assert_eq!(StoredEvent::decode(&payload).as_ref(), Ok(&event));
            let raw = RawEvent::parse(&payload).unwrap();
            let wire = raw.with_position(room, Position { seq: 9.into(), prev: 8.into() });
            let (name, data): (String, serde_json::Value) = serde_json::from_str(&wire).unwrap();
            assert_eq!(name, raw.name);
            assert_eq!((&data["seq"], &data["prev"]), (&9.into(), &8.into()), "{wire}");
            assert_eq!(data["roomId"], room.to_string());
            assert_eq!(data["at"], at.to_string());
        }
    }

    #[test]
    fn seqs_that_no_database_can_hold_are_refused() {
        let (at, by) = (Timestamp::now(), UserId::generate());
        let message = Message {
            id: MessageId::generate(),
            from: person(),
            msg: MessageText::parse("x").unwrap(),
            at,
            file: None,
            reply_to: Some(Seq::MAX),
        };
        let deleted = StoredEvent::MsgDeleted { target: Seq::MAX, by, at }.encode();
        let message = StoredEvent::ReceiveMsg(message).encode();
        let mark = ReadMark { seq: Seq::MAX }.encode();
        for (number, is_read) in [(Seq::MAX.get(), true), (1 << 53, false), (u64::MAX, false)] {
            let with = |payload: &[u8]| {
                let text = String::from_utf8(payload.to_vec()).unwrap();
                text.replace(&Seq::MAX.to_string(), &number.to_string()).into_bytes()
            };
            assert_eq!(StoredEvent::decode(&with(&deleted)).is_ok(), is_read, "{number}");
            assert_eq!(StoredEvent::decode(&with(&message)).is_ok(), is_read, "{number}");
            assert_eq!(ReadMark::decode(&with(&mark)).is_ok(), is_read, "{number}");
        }
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_payloads_are_refused(
            payload: Vec<u8>,
            text in "\\[\"[a-z-]{0,9}\",\\{.{0,9}\\}?\\]?",
        ) {
            proptest::prop_assert!(StoredEvent::decode(&payload).is_err());
            proptest::prop_assert!(StoredEvent::decode(text.as_bytes()).is_err());
        }
    }
}
