//! The unarchived tail of a room: its events after the watermark, read from the stream. They are new messages and
//! changes of archived messages.
//!
//! Usually the tail is less than a second of events. It grows while the archive function is down. Memory stays bounded,
//! because only the messages of one page are kept, and changes up to the limits below.

use std::collections::{BTreeMap, HashSet, VecDeque};

use protocol::{
    Emoji, MessageId, MessageText, Seq, Timestamp, UserId,
    stored::{Message, StoredEvent},
};
use store::message_lookup;

use super::view::{DeletedAuthors, MessageView};
use crate::{
    error::ApiError,
    room_row::{RoomLogRow, RoomRow},
    state::AppState,
};

/// Events read from the stream by one request to it.
const BATCH: usize = 256;
/// Attempts at reading a tail that is archived and purged while it is read.
const READ_ATTEMPTS: usize = 3;
/// Archived messages whose changes are kept. The tail changes more of them only if the archive function is down for
/// long; the changes of the others then show once they are archived.
const CHANGED_MESSAGES_MAX: usize = 10_000;
/// Message ids kept to skip duplicates. Only processes of an older version stored a message twice; the archive function
/// keeps the first copy.
const MESSAGE_IDS_MAX: usize = 10_000;

/// The messages of the tail to return.
#[derive(Debug, Clone, Copy)]
pub enum MessageRange {
    /// The first ones after a seq.
    First { after: Seq, limit: usize },
    /// The last ones before a seq.
    Last { before: Seq, limit: usize },
}

/// Reactions kept.
const REACTIONS_MAX: usize = 20_000;

/// Changes of one message by events of the tail.
#[derive(Default)]
struct Changes {
    edited: Option<(MessageText, Timestamp)>,
    deleted: Option<Timestamp>,
    /// The last state of each reaction.
    reactions: BTreeMap<(UserId, Emoji), bool>,
}

pub struct UnarchivedTail {
    me: UserId,
    range: MessageRange,
    items: VecDeque<MessageView>,
    changes: BTreeMap<Seq, Changes>,
    /// Messages that are archived or were read before, to skip duplicates.
    known: HashSet<(UserId, MessageId)>,
    /// Number of reactions in `changes`.
    reaction_count: usize,
    /// Whether the stream was read to its end.
    is_complete: bool,
}

/// The messages among the events that are archived already.
async fn archived_messages(
    state: &AppState,
    room: &RoomRow,
    events: &[(Seq, StoredEvent)],
) -> Result<Vec<(UserId, MessageId)>, ApiError> {
    let sent = events.iter().filter_map(|(_, event)| match event {
        StoredEvent::ReceiveMsg(message) => Some((message.from.id, message.id)),
        _ => None,
    });
    let sent: Vec<_> = sent.collect();
    Ok(message_lookup::archived_among(
        &state.store.database,
        room.room_id(),
        room.archived_seq,
        &sent,
    )
    .await?)
}

impl UnarchivedTail {
    /// Reads the tail. If NATS does not answer, the tail is empty, so that history stays readable. If events are
    /// archived and purged while they are read, `room.archived_seq` is raised and the tail is read again.
    pub async fn read(
        state: &AppState,
        room: &mut RoomRow,
        me: UserId,
        range: MessageRange,
    ) -> Result<Self, ApiError> {
        for _ in 0..READ_ATTEMPTS {
            let tail = Self::read_once(state, room, me, range).await?;
            if !tail.is_complete {
                return Ok(tail);
            }
            let Some(log) = RoomLogRow::read(state, room.id).await? else { return Ok(tail) };
            // `kept_seq` is written before the purge, so all events after it were still in the stream.
            if log.kept_seq <= room.archived_seq {
                return Ok(tail);
            }
            room.archived_seq = log.archived_seq;
        }
        tracing::warn!(room = %room.id, "the stream was purged during reads; serving history from the database only");
        let mut tail = Self::read_once(state, room, me, range).await?;
        tail.clear();
        Ok(tail)
    }

    async fn read_once(
        state: &AppState,
        room: &RoomRow,
        me: UserId,
        range: MessageRange,
    ) -> Result<Self, ApiError> {
        let (items, changes) = (VecDeque::new(), BTreeMap::new());
        let known = HashSet::new();
        let (reaction_count, is_complete) = (0, true);
        let mut tail = Self { me, range, items, changes, known, reaction_count, is_complete };
        let mut from = room.archived_seq;
        loop {
            let entries = match state.store.log.after(room.room_id(), from, BATCH).await {
                Ok(entries) => entries,
                Err(error) => {
                    tracing::warn!(%error, "reading the stream failed; serving history from the database only");
                    tail.clear();
                    return Ok(tail);
                }
            };
            let mut events = Vec::with_capacity(entries.len());
            for entry in &entries {
                from = entry.seq;
                match StoredEvent::decode(&entry.payload) {
                    Ok(event) => events.push((entry.seq, event)),
                    Err(error) => {
                        tracing::error!(seq = %entry.seq, %error, "an event was skipped: it cannot be decoded")
                    }
                }
            }
            tail.known.extend(archived_messages(state, room, &events).await?);
            for (seq, event) in events {
                tail.apply_event(room, seq, event)?;
            }
            if entries.len() < BATCH {
                return tail.with_deleted_authors(state).await;
            }
        }
    }

    /// Replaces the names of deleted authors.
    async fn with_deleted_authors(mut self, state: &AppState) -> Result<Self, ApiError> {
        let authors = self.items.iter().map(MessageView::author);
        let deleted_authors = DeletedAuthors::among(state, authors).await?;
        for item in &mut self.items {
            let author = item.author();
            let from = &mut item.message.from;
            from.name = deleted_authors.display_name(author, from.name.as_str());
        }
        Ok(self)
    }

    /// Empties the tail, so that the response holds archived messages only.
    fn clear(&mut self) {
        self.items.clear();
        self.changes.clear();
        self.known.clear();
        self.is_complete = false;
    }

    /// The user who reads: reactions are marked as theirs.
    pub fn me(&self) -> UserId {
        self.me
    }

    /// Whether the whole tail was read from NATS.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// The requested messages, oldest first.
    pub fn into_items(self) -> VecDeque<MessageView> {
        self.items
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    fn apply_event(
        &mut self,
        room: &RoomRow,
        seq: Seq,
        event: StoredEvent,
    ) -> Result<(), ApiError> {
        match event {
            StoredEvent::ReceiveMsg(message) => self.add_message(room, seq, message),
            StoredEvent::MsgEdited { target, msg, at, .. } => match self.item(target) {
                Some(item) => item.edit(msg, at),
                None => self.change(room, target, |changes| changes.edited = Some((msg, at))),
            },
            StoredEvent::MsgDeleted { target, at, .. } => match self.item(target) {
                Some(item) => item.delete(at)?,
                None => self.change(room, target, |changes| changes.deleted = Some(at)),
            },
            StoredEvent::Reaction { target, emoji, on, by, .. } => {
                self.change_reaction(room, target, (by.id, emoji), on);
            }
            StoredEvent::RoomBroadcast { .. }
            | StoredEvent::MemberJoined { .. }
            | StoredEvent::MemberLeft { .. }
            | StoredEvent::MemberRemoved { .. }
            | StoredEvent::RoomUpdated { .. }
            | StoredEvent::RoomDeleted { .. } => {}
        }
        Ok(())
    }

    fn add_message(&mut self, room: &RoomRow, seq: Seq, message: Message) {
        let key = (message.from.id, message.id);
        if self.known.contains(&key) {
            return;
        }
        if self.known.len() < MESSAGE_IDS_MAX {
            self.known.insert(key);
        }
        let (is_in_range, limit) = match self.range {
            MessageRange::First { after, limit } => {
                (seq > after && self.items.len() < limit, limit)
            }
            MessageRange::Last { before, limit } => (seq < before, limit),
        };
        if is_in_range {
            self.items.push_back(MessageView::sent(room.room_id(), seq, message));
            self.items.drain(..self.items.len().saturating_sub(limit));
        }
    }

    fn item(&mut self, seq: Seq) -> Option<&mut MessageView> {
        let index = self.items.binary_search_by_key(&seq, |item| item.seq).ok()?;
        self.items.get_mut(index)
    }

    /// Records a change of an archived message, up to the limit.
    fn change(&mut self, room: &RoomRow, target: Seq, change: impl FnOnce(&mut Changes)) {
        let is_archived = target <= room.archived_seq;
        if is_archived
            && (self.changes.len() < CHANGED_MESSAGES_MAX || self.changes.contains_key(&target))
        {
            change(self.changes.entry(target).or_default());
        }
    }

    /// Records a reaction. If the message itself is in the tail, all its reactions are too, so its count is updated
    /// at once. For an archived message, [`Self::apply`] compares with the archived state first.
    fn change_reaction(&mut self, room: &RoomRow, target: Seq, who: (UserId, Emoji), on: bool) {
        let is_in_tail = target > room.archived_seq;
        if self.reaction_count >= REACTIONS_MAX
            || (self.changes.len() >= CHANGED_MESSAGES_MAX && !self.changes.contains_key(&target))
        {
            return;
        }
        let reactions = &mut self.changes.entry(target).or_default().reactions;
        let previous = reactions.insert(who.clone(), on);
        self.reaction_count += usize::from(previous.is_none());
        let is_changed = is_in_tail && previous.unwrap_or(false) != on;
        let mine = who.0 == self.me;
        if let Some(item) = self.item(target).filter(|_| is_changed) {
            item.react(&who.1, on, mine);
        }
    }

    /// Applies the tail's changes to an archived message. `archived` returns whether a user's reaction is counted in
    /// the message already.
    pub fn apply(
        &self,
        item: &mut MessageView,
        archived: impl Fn(UserId, &Emoji) -> bool,
    ) -> Result<(), ApiError> {
        let Some(changes) = self.changes.get(&item.seq) else { return Ok(()) };
        if let Some((msg, at)) = &changes.edited {
            item.edit(msg.clone(), *at);
        }
        for ((user, emoji), on) in &changes.reactions {
            if archived(*user, emoji) != *on {
                item.react(emoji, *on, *user == self.me);
            }
        }
        changes.deleted.map_or(Ok(()), |at| item.delete(at))
    }

    /// Users who react in the tail to messages from `first` to `last`.
    pub fn reacting_users(&self, first: Seq, last: Seq) -> std::collections::BTreeSet<UserId> {
        let changes = self.changes.range(first..=last).flat_map(|(_, changes)| &changes.reactions);
        changes.map(|((user, _), _)| *user).collect()
    }
}
