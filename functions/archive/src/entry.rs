//! Messages of a stream, decoded: what can be stored, and why the rest cannot.

use protocol::{
    RoomId, Seq, UserId,
    stored::{ReadMark, StoredEvent},
    subject::Stored,
};

/// A message of the stream that can be stored.
#[derive(Debug, Clone)]
pub struct Entry {
    pub seq: Seq,
    pub kind: Kind,
}

/// What it says.
#[derive(Debug, Clone)]
pub enum Kind {
    Event(RoomId, StoredEvent),
    /// A user has read a room up to a seq.
    Read(RoomId, UserId, Seq),
}

/// Why a message can never be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Its subject names no room.
    NoRoom,
    /// Its payload is no event of this version: broken JSON, an unknown kind, a value out of range.
    NotAnEvent,
    /// It changes a message that did not exist when it was stored.
    NoTarget,
    /// The database refuses its values.
    RefusedByDatabase,
}

impl Reason {
    /// Stable; for metrics and headers.
    pub fn code(self) -> &'static str {
        match self {
            Self::NoRoom => "no-room",
            Self::NotAnEvent => "not-an-event",
            Self::NoTarget => "no-target",
            Self::RefusedByDatabase => "refused-by-database",
        }
    }
}

impl Entry {
    /// Reads one message.
    pub fn decode(stored: Option<Stored>, seq: Seq, payload: &[u8]) -> Result<Self, Reason> {
        let kind = match stored.ok_or(Reason::NoRoom)? {
            Stored::Event(room) => {
                let event = StoredEvent::decode(payload).map_err(|_| Reason::NotAnEvent)?;
                if target(&event).is_some_and(|target| target >= seq) {
                    return Err(Reason::NoTarget);
                }
                Kind::Event(room, event)
            }
            Stored::Read(room, user) => {
                let mark = ReadMark::decode(payload).map_err(|_| Reason::NotAnEvent)?;
                // Nobody has read what is stored after their mark.
                Kind::Read(room, user, mark.seq.min(seq))
            }
        };
        Ok(Self { seq, kind })
    }
}

/// The message that an event changes.
fn target(event: &StoredEvent) -> Option<Seq> {
    match event {
        StoredEvent::MsgEdited { target, .. }
        | StoredEvent::MsgDeleted { target, .. }
        | StoredEvent::Reaction { target, .. } => Some(*target),
        StoredEvent::ReceiveMsg(_)
        | StoredEvent::RoomBroadcast { .. }
        | StoredEvent::MemberJoined { .. }
        | StoredEvent::MemberLeft { .. }
        | StoredEvent::MemberRemoved { .. }
        | StoredEvent::RoomUpdated { .. }
        | StoredEvent::RoomDeleted { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use protocol::Timestamp;

    use super::*;

    #[test]
    fn what_can_never_be_stored_says_why() {
        let (room, user) = (RoomId::generate(), UserId::generate());
        let at = Timestamp::now();
        let deleted =
            |target: u32| StoredEvent::MsgDeleted { target: target.into(), by: user, at }.encode();
        let event = Some(Stored::Event(room));
        let code = |stored, seq: u32, payload: &[u8]| {
            Entry::decode(stored, seq.into(), payload).map(|entry| entry.seq).map_err(Reason::code)
        };
        assert_eq!(code(None, 7, &deleted(6)), Err("no-room"));
        assert_eq!(code(event, 7, &deleted(6)), Ok(7.into()));
        assert_eq!(code(event, 7, &deleted(7)), Err("no-target"));
        let at = "2026-01-01T00:00:00Z";
        for payload in [
            String::new(),
            "[\"msg-deleted\",{".into(),
            format!(r#"["msg-vanished",{{"target":1,"by":"{user}","at":"{at}"}}]"#),
            format!(r#"["msg-deleted",{{"target":-1,"by":"{user}","at":"{at}"}}]"#),
            format!(r#"["msg-deleted",{{"target":1,"by":"{user}","at":"-9999-01-01T00:00:00Z"}}]"#),
            format!(r#"["msg-edited",{{"target":1,"msg":"\u0000","by":"{user}","at":"{at}"}}]"#),
        ] {
            assert_eq!(code(event, 7, payload.as_bytes()), Err("not-an-event"), "{payload}");
        }
        assert_eq!(code(event, 7, b"[\"msg-deleted\",{\"target\":\"\xff\"}]"), Err("not-an-event"));
        let read = Some(Stored::Read(room, user));
        assert_eq!(code(read, 7, b"x"), Err("not-an-event"));
        let Ok(Entry { kind: Kind::Read(_, _, seq), .. }) =
            Entry::decode(read, 7.into(), br#"{"seq":9}"#)
        else {
            panic!("a read mark");
        };
        assert_eq!(seq, 7.into(), "a mark beyond its own place is cut");
    }
}
