//! Events as rows: a batch is gathered first, so that each table is written by few statements.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use protocol::{
    Emoji, RoomId, Seq, UserId,
    stored::{Message, StoredEvent},
};
use store::search_text;

use super::entry::{Entry, Kind};

/// A row of `message`.
pub struct MessageRow {
    pub room: RoomId,
    pub seq: Seq,
    pub message: Message,
    /// As JSON.
    pub file: Option<String>,
    /// The text to be looked for.
    pub parts: String,
}

/// What happens to an archived message.
pub struct MessageChange {
    pub room: RoomId,
    /// The event's own.
    pub seq: Seq,
    pub target: Seq,
    pub kind: ChangeKind,
    pub at: DateTime<Utc>,
}

pub enum ChangeKind {
    Edited { msg: String },
    Deleted,
}

/// Who reacts with what to which message.
pub type ReactionKey = (RoomId, Seq, UserId, Emoji);

/// See the module. All in one order everywhere, so that two archives never wait for each other.
#[derive(Default)]
pub struct Rows {
    pub messages: Vec<MessageRow>,
    pub changes: Vec<MessageChange>,
    /// The last word on each: its seq and whether it is on.
    pub reactions: BTreeMap<ReactionKey, (Seq, bool)>,
    /// How far users have read.
    pub read: BTreeMap<(RoomId, UserId), Seq>,
}

impl Rows {
    /// Of entries in the order of their seqs.
    pub fn of(entries: &[Entry]) -> Self {
        let mut rows = Self::default();
        for entry in entries {
            match &entry.kind {
                Kind::Event(room, event) => rows.add_event(*room, entry.seq, event.clone()),
                Kind::Read(room, user, seq) => rows.has_read(*room, *user, *seq),
            }
        }
        rows
    }

    fn add_event(&mut self, room: RoomId, seq: Seq, event: StoredEvent) {
        match event {
            StoredEvent::ReceiveMsg(message) => {
                // Who writes has read what stood before.
                self.has_read(room, message.from.id, seq);
                // A plain struct: it cannot fail to serialize.
                let file = message.file.as_ref().and_then(|file| serde_json::to_string(file).ok());
                let parts = search_text::search_text(message.msg.as_str());
                self.messages.push(MessageRow { room, seq, message, file, parts });
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
            // Who comes begins with what comes then.
            StoredEvent::MemberJoined { user, .. } => self.has_read(room, user.id, seq),
            // What these say is in the database before they are told.
            StoredEvent::RoomBroadcast { .. }
            | StoredEvent::MemberLeft { .. }
            | StoredEvent::MemberRemoved { .. }
            | StoredEvent::RoomUpdated { .. }
            | StoredEvent::RoomDeleted { .. } => {}
        }
    }

    fn has_read(&mut self, room: RoomId, user: UserId, seq: Seq) {
        let furthest = self.read.entry((room, user)).or_default();
        *furthest = seq.max(*furthest);
    }

    /// The rooms that rows are of.
    pub fn rooms(&self) -> std::collections::BTreeSet<RoomId> {
        let messages = self.messages.iter().map(|row| row.room);
        let changes = self.changes.iter().map(|change| change.room);
        let reactions = self.reactions.keys().map(|(room, ..)| *room);
        let read = self.read.keys().map(|(room, _)| *room);
        messages.chain(changes).chain(reactions).chain(read).collect()
    }

    /// Drops what is of other rooms.
    pub fn retain(&mut self, is_there: impl Fn(RoomId) -> bool) {
        self.messages.retain(|row| is_there(row.room));
        self.changes.retain(|change| is_there(change.room));
        self.reactions.retain(|(room, ..), _| is_there(*room));
        self.read.retain(|(room, _), _| is_there(*room));
    }
}

#[cfg(test)]
mod tests {
    use protocol::{MessageId, Timestamp, stored::Person};

    use super::*;

    #[test]
    fn a_batch_has_the_last_word_once() {
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
        let mut entries: Vec<Entry> = (1_u32..)
            .zip(events)
            .map(|(seq, event)| Entry { seq: seq.into(), kind: Kind::Event(room, event) })
            .collect();
        entries.push(Entry { seq: 6.into(), kind: Kind::Read(room, user, 4.into()) });
        let mut rows = Rows::of(&entries);
        assert_eq!(rows.messages[0].parts, "XhXeXlXlXoX");
        assert_eq!(rows.reactions.into_values().collect::<Vec<_>>(), [(4.into(), true)]);
        assert_eq!(rows.read[&(room, user)], 4.into());
        rows.reactions = BTreeMap::new();
        rows.retain(|_| false);
        assert!(rows.messages.is_empty() && rows.read.is_empty());
    }
}
