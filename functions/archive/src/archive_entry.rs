//! Decodes stream messages into entries that can be stored.

use protocol::{
    RoomId, Seq, UserId,
    stored::{ReadMark, StoredEvent},
    subject::Stored,
};

use super::dead_letters::DeadLetterReason;

/// A decoded stream message.
#[derive(Debug, Clone)]
pub struct ArchiveEntry {
    pub seq: Seq,
    pub kind: EntryKind,
}

#[derive(Debug, Clone)]
pub enum EntryKind {
    Event(RoomId, StoredEvent),
    /// A read mark: the user has read the room up to this seq.
    Read(RoomId, UserId, Seq),
}

impl ArchiveEntry {
    /// Fails for a message that can never be stored.
    pub fn decode(
        stored: Option<Stored>,
        seq: Seq,
        payload: &[u8],
    ) -> Result<Self, DeadLetterReason> {
        let kind = match stored.ok_or(DeadLetterReason::NoRoom)? {
            Stored::Event(room) => {
                let event =
                    StoredEvent::decode(payload).map_err(|_| DeadLetterReason::NotAnEvent)?;
                if target(&event).is_some_and(|target| target >= seq) {
                    return Err(DeadLetterReason::NoTarget);
                }
                EntryKind::Event(room, event)
            }
            Stored::Read(room, user) => {
                let mark = ReadMark::decode(payload).map_err(|_| DeadLetterReason::NotAnEvent)?;
                // The user cannot have read events that were stored after the mark.
                EntryKind::Read(room, user, mark.seq.min(seq))
            }
        };
        Ok(Self { seq, kind })
    }
}

/// The seq of the message that an event changes.
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
            ArchiveEntry::decode(stored, seq.into(), payload)
                .map(|entry| entry.seq)
                .map_err(DeadLetterReason::code)
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
        let Ok(ArchiveEntry { kind: EntryKind::Read(_, _, seq), .. }) =
            ArchiveEntry::decode(read, 7.into(), br#"{"seq":9}"#)
        else {
            panic!("not a read mark");
        };
        assert_eq!(seq, 7.into(), "a read mark is limited to its own seq");
    }
}
