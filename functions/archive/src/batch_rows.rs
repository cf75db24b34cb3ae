//! Gathers the rows of a batch, so that each table is written with few statements.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use protocol::{
    Emoji, RoomId, Seq, UserId,
    stored::{Message, StoredEvent},
};
use store::search_text;

use super::archive_entry::{ArchiveEntry, EntryKind};

/// A row of the table `message`.
pub struct MessageRow {
    pub room: RoomId,
    pub seq: Seq,
    pub message: Message,
    /// The file as JSON, as `message.file` stores it.
    pub file: Option<String>,
    /// The column `parts`, see [`search_text`].
    pub parts: String,
    pub fold_version: i64,
}

/// An edit or deletion of a message.
pub struct MessageChange {
    pub room: RoomId,
    /// The seq of the event, not of the message.
    pub seq: Seq,
    pub target: Seq,
    pub kind: ChangeKind,
    pub at: DateTime<Utc>,
}

pub enum ChangeKind {
    Edited { msg: String },
    Deleted,
}

/// Room, message, user and emoji.
pub type ReactionKey = (RoomId, Seq, UserId, Emoji);

/// The rows of a batch. Every archive writes them in the same order, so that two cannot deadlock.
#[derive(Default)]
pub struct BatchRows {
    pub messages: Vec<MessageRow>,
    pub changes: Vec<MessageChange>,
    /// The newest event on each reaction: its seq, and whether it adds or removes the reaction.
    pub reactions: BTreeMap<ReactionKey, (Seq, bool)>,
    /// The seq up to which each user has read each room.
    pub read_marks: BTreeMap<(RoomId, UserId), Seq>,
}

impl BatchRows {
    /// `entries` must be in the order of their seqs.
    pub fn of(entries: &[ArchiveEntry]) -> Self {
        let mut rows = Self::default();
        for entry in entries {
            match &entry.kind {
                EntryKind::Event(room, event) => rows.add_event(*room, entry.seq, event.clone()),
                EntryKind::Read(room, user, seq) => rows.set_read_mark(*room, *user, *seq),
            }
        }
        rows
    }

    fn add_event(&mut self, room: RoomId, seq: Seq, event: StoredEvent) {
        match event {
            StoredEvent::ReceiveMsg(message) => {
                // The author has read everything before their own message.
                self.set_read_mark(room, message.from.id, seq);
                // Serializing a struct of plain fields cannot fail.
                let file = message.file.as_ref().and_then(|file| serde_json::to_string(file).ok());
                let parts = search_text::search_text(message.msg.as_str());
                let fold_version = search_text::FOLD_VERSION;
                self.messages.push(MessageRow { room, seq, message, file, parts, fold_version });
            }
            StoredEvent::MsgEdited { target, msg, at, .. } => {
                let kind = ChangeKind::Edited { msg: msg.as_str().to_owned() };
                self.changes.push(MessageChange { room, seq, target, kind, at: at.utc() });
            }
            StoredEvent::MsgDeleted { target, at, .. } => {
                let kind = ChangeKind::Deleted;
                self.changes.push(MessageChange { room, seq, target, kind, at: at.utc() });
            }
            StoredEvent::Reaction { target, emoji, on, by, .. } => {
                self.reactions.insert((room, target, by.id, emoji), (seq, on));
            }
            // Messages from before the join do not count as unread.
            StoredEvent::MemberJoined { user, .. } => self.set_read_mark(room, user.id, seq),
            // The request that caused these events wrote their contents to the database.
            StoredEvent::RoomBroadcast { .. }
            | StoredEvent::MemberLeft { .. }
            | StoredEvent::MemberRemoved { .. }
            | StoredEvent::RoomUpdated { .. }
            | StoredEvent::RoomDeleted { .. } => {}
        }
    }

    fn set_read_mark(&mut self, room: RoomId, user: UserId, seq: Seq) {
        let furthest = self.read_marks.entry((room, user)).or_default();
        *furthest = seq.max(*furthest);
    }

    pub fn rooms(&self) -> BTreeSet<RoomId> {
        let messages = self.messages.iter().map(|row| row.room);
        let changes = self.changes.iter().map(|change| change.room);
        let reactions = self.reactions.keys().map(|(room, ..)| *room);
        let read_marks = self.read_marks.keys().map(|(room, _)| *room);
        messages.chain(changes).chain(reactions).chain(read_marks).collect()
    }

    /// Keeps only rows of rooms for which `is_kept` returns true.
    pub fn retain(&mut self, is_kept: impl Fn(RoomId) -> bool) {
        self.messages.retain(|row| is_kept(row.room));
        self.changes.retain(|change| is_kept(change.room));
        self.reactions.retain(|(room, ..), _| is_kept(*room));
        self.read_marks.retain(|(room, _), _| is_kept(*room));
    }
}

#[cfg(test)]
mod tests {
    use protocol::{MessageId, Timestamp, stored::Person};

    use super::*;

    #[test]
    fn a_batch_keeps_the_newest_event_of_each_reaction() {
        let (room, user, at) = (RoomId::generate(), UserId::generate(), Timestamp::now());
        let by = Person { id: user, name: "Ada".parse().unwrap() };
        let emoji = Emoji::parse("👍").unwrap();
        let react = |on| {
            let (emoji, by) = (emoji.clone(), by.clone());
            StoredEvent::Reaction { target: 1.into(), emoji, on, by, at }
        };
        let message = StoredEvent::ReceiveMsg(Message {
            id: MessageId::generate(),
            from: by.clone(),
            msg: "Hello".parse().unwrap(),
            at,
            file: None,
            reply_to: None,
        });
        let events = [message, react(true), react(false), react(true)];
        let mut entries: Vec<ArchiveEntry> = (1_u32..)
            .zip(events)
            .map(|(seq, event)| ArchiveEntry {
                seq: seq.into(),
                kind: EntryKind::Event(room, event),
            })
            .collect();
        entries.push(ArchiveEntry { seq: 6.into(), kind: EntryKind::Read(room, user, 4.into()) });
        let mut rows = BatchRows::of(&entries);
        assert_eq!(rows.messages[0].parts, "XhXeXlXlXoX");
        assert_eq!(rows.reactions.into_values().collect::<Vec<_>>(), [(4.into(), true)]);
        assert_eq!(rows.read_marks[&(room, user)], 4.into());
        rows.reactions = BTreeMap::new();
        rows.retain(|_| false);
        assert!(rows.messages.is_empty() && rows.read_marks.is_empty());
    }
}
