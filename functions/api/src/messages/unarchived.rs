//! The unarchived tail of a room: its events past the archived seq, read from the stream. They are
//! messages, and changes of archived messages.
//!
//! Usually it is less than a second of events. It grows while the archive is down; memory stays bounded,
//! because only the messages of one page are kept.

use std::collections::{BTreeMap, HashSet, VecDeque};

use protocol::{
    Emoji, MessageId, MessageText, Seq, Timestamp, UserId,
    stored::{Message, StoredEvent},
};
use store::earlier_send;

use super::view::{DeletedAuthors, MessageView};
use crate::{
    error::ApiError,
    room_row::{RoomLogRow, RoomRow},
    state::AppState,
};

/// Events read from the stream by one request to it.
const BATCH: usize = 256;
/// Attempts at reading a tail that is archived and purged while it is read.
const TRIES: usize = 3;
/// Archived messages whose changes are kept. More are changed only while the archive is down for long;
/// then the further ones show their changes late.
const CHANGED: usize = 10_000;
/// Message ids of the tail that are kept to find duplicates. Only processes of an older version stored a
/// message twice, and the archive keeps the first.
const REMEMBERED: usize = 10_000;

/// Which messages of the tail to return.
#[derive(Debug, Clone, Copy)]
pub enum Wanted {
    /// The first ones after a seq.
    First { after: Seq, limit: usize },
    /// The last ones before a seq.
    Last { before: Seq, limit: usize },
}

/// Reactions of the tail that are kept.
const REACTED: usize = 20_000;

/// Changes of one archived message.
#[derive(Default)]
struct Changes {
    edited: Option<(MessageText, Timestamp)>,
    deleted: Option<Timestamp>,
    /// The last state of each reaction.
    reactions: BTreeMap<(UserId, Emoji), bool>,
}

/// See the module.
pub struct UnarchivedTail {
    me: UserId,
    wanted: Wanted,
    items: VecDeque<MessageView>,
    changes: BTreeMap<Seq, Changes>,
    /// Messages that the archive or the tail already holds.
    sent: HashSet<(UserId, MessageId)>,
    /// Reactions in `changes`.
    reacted: usize,
    is_whole: bool,
}

/// The messages among the events that are archived already.
async fn archived(
    state: &AppState,
    room: &RoomRow,
    events: &[(Seq, StoredEvent)],
) -> Result<Vec<(UserId, MessageId)>, ApiError> {
    let sent = events.iter().filter_map(|(_, event)| match event {
        StoredEvent::ReceiveMsg(message) => Some((message.from.id, message.id)),
        _ => None,
    });
    let sent: Vec<_> = sent.collect();
    Ok(earlier_send::archived_among(
        &state.store.database,
        room.room_id(),
        room.archived_seq,
        &sent,
    )
    .await?)
}

impl UnarchivedTail {
    /// Reads the tail; it is empty while NATS does not answer, so that history stays readable. If events are
    /// archived and purged while they are read, `room.archived_seq` is raised and the tail is read again.
    pub async fn read(
        state: &AppState,
        room: &mut RoomRow,
        me: UserId,
        wanted: Wanted,
    ) -> Result<Self, ApiError> {
        for _ in 0..TRIES {
            let tail = Self::read_once(state, room, me, wanted).await?;
            if !tail.is_whole {
                return Ok(tail);
            }
            let Some(log) = RoomLogRow::read(state, room.id).await? else { return Ok(tail) };
            // The mark is written before the purge, so events above it were still in the stream.
            if log.kept_seq <= room.archived_seq {
                return Ok(tail);
            }
            room.archived_seq = log.archived_seq;
        }
        tracing::warn!(room = %room.id, "the stream is purged as fast as it is read");
        let mut tail = Self::read_once(state, room, me, wanted).await?;
        tail.keep_nothing();
        Ok(tail)
    }

    async fn read_once(
        state: &AppState,
        room: &RoomRow,
        me: UserId,
        wanted: Wanted,
    ) -> Result<Self, ApiError> {
        let (items, changes) = (VecDeque::new(), BTreeMap::new());
        let sent = HashSet::new();
        let mut tail = Self { me, wanted, items, changes, sent, reacted: 0, is_whole: true };
        let mut from = room.archived_seq;
        loop {
            let entries = match state.store.log.after(room.room_id(), from, BATCH).await {
                Ok(entries) => entries,
                Err(error) => {
                    tracing::warn!(%error, "history is served as far as it is archived");
                    tail.keep_nothing();
                    return Ok(tail);
                }
            };
            let mut events = Vec::with_capacity(entries.len());
            for entry in &entries {
                from = entry.seq;
                match StoredEvent::decode(&entry.payload) {
                    Ok(event) => events.push((entry.seq, event)),
                    Err(error) => tracing::error!(seq = %entry.seq, %error, "passed over"),
                }
            }
            tail.sent.extend(archived(state, room, &events).await?);
            for (seq, event) in events {
                tail.apply_event(room, seq, event)?;
            }
            if entries.len() < BATCH {
                return tail.named(state).await;
            }
        }
    }

    /// Replaces the names of deleted authors.
    async fn named(mut self, state: &AppState) -> Result<Self, ApiError> {
        let gone = DeletedAuthors::among(state, self.items.iter().map(MessageView::author)).await?;
        for item in &mut self.items {
            let author = item.author();
            let from = &mut item.message.from;
            from.name = gone.name(author, from.name.as_str())?;
        }
        Ok(self)
    }

    /// Makes the tail empty: the answer is what the database holds.
    fn keep_nothing(&mut self) {
        self.items.clear();
        self.changes.clear();
        self.sent.clear();
        self.is_whole = false;
    }

    /// The caller.
    pub fn me(&self) -> UserId {
        self.me
    }

    /// Whether NATS answered.
    pub fn is_whole(&self) -> bool {
        self.is_whole
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
        if self.sent.contains(&key) {
            return;
        }
        if self.sent.len() < REMEMBERED {
            self.sent.insert(key);
        }
        let (is_wanted, limit) = match self.wanted {
            Wanted::First { after, limit } => (seq > after && self.items.len() < limit, limit),
            Wanted::Last { before, limit } => (seq < before, limit),
        };
        if is_wanted {
            self.items.push_back(MessageView::sent(room.room_id(), seq, message));
            self.items.drain(..self.items.len().saturating_sub(limit));
        }
    }

    fn item(&mut self, seq: Seq) -> Option<&mut MessageView> {
        let index = self.items.binary_search_by_key(&seq, |item| item.seq).ok()?;
        self.items.get_mut(index)
    }

    fn change(&mut self, room: &RoomRow, target: Seq, change: impl FnOnce(&mut Changes)) {
        let is_before = target <= room.archived_seq;
        if is_before && (self.changes.len() < CHANGED || self.changes.contains_key(&target)) {
            change(self.changes.entry(target).or_default());
        }
    }

    /// All reactions to a message of the tail are in the tail.
    fn change_reaction(&mut self, room: &RoomRow, target: Seq, who: (UserId, Emoji), on: bool) {
        let is_in_tail = target > room.archived_seq;
        if self.reacted >= REACTED
            || (self.changes.len() >= CHANGED && !self.changes.contains_key(&target))
        {
            return;
        }
        let reactions = &mut self.changes.entry(target).or_default().reactions;
        let was = reactions.insert(who.clone(), on);
        self.reacted += usize::from(was.is_none());
        let is_news = is_in_tail && was.unwrap_or(false) != on;
        let mine = who.0 == self.me;
        if let Some(item) = self.item(target).filter(|_| is_news) {
            item.react(&who.1, on, mine);
        }
    }

    /// Applies the tail's changes to an archived message. `had` returns whether a user's reaction is archived.
    pub fn apply(
        &self,
        item: &mut MessageView,
        had: impl Fn(UserId, &Emoji) -> bool,
    ) -> Result<(), ApiError> {
        let Some(changes) = self.changes.get(&item.seq) else { return Ok(()) };
        if let Some((msg, at)) = &changes.edited {
            item.edit(msg.clone(), *at);
        }
        for ((user, emoji), on) in &changes.reactions {
            if had(*user, emoji) != *on {
                item.react(emoji, *on, *user == self.me);
            }
        }
        changes.deleted.map_or(Ok(()), |at| item.delete(at))
    }

    /// Users who react in the tail to archived messages from `first` to `last`.
    pub fn reacting(&self, first: Seq, last: Seq) -> std::collections::BTreeSet<UserId> {
        let changes = self.changes.range(first..=last).flat_map(|(_, changes)| &changes.reactions);
        changes.map(|((user, _), _)| *user).collect()
    }
}
