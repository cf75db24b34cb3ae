//! The end of a room that is not archived yet, read from the stream: its messages, and what it says of
//! messages before it.
//!
//! Usually less than a second of events. However long it is while the archive is away, no more than a
//! page of it is held.

use std::collections::{BTreeMap, HashSet, VecDeque};

use protocol::{
    Emoji, MessageId, MessageText, Seq, Timestamp, UserId,
    stored::{Message, StoredEvent},
};
use store::sent;

use super::{
    past::{Gone, Item},
    room::{RoomLogRow, RoomRow},
};
use crate::{error::ApiError, state::State};

/// Events read from the stream by one request to it.
const BATCH: usize = 256;
/// How often a tail that was purged meanwhile is read again.
const TRIES: usize = 3;
/// Messages before the tail of which is remembered what the tail says. More only an archive that was
/// away for long leaves; then some old messages show their changes late.
const CHANGED: usize = 10_000;
/// Messages of the tail that are remembered, to show one that was stored twice once. Only a process of
/// an older version stores one twice, and the archive keeps the first.
const REMEMBERED: usize = 10_000;

/// Which messages of the tail are wanted.
#[derive(Debug, Clone, Copy)]
pub enum Wanted {
    /// The first ones after a seq.
    First { after: Seq, limit: usize },
    /// The last ones before a seq.
    Last { before: Seq, limit: usize },
}

/// Reactions of which is remembered what the tail says.
const REACTED: usize = 20_000;

/// What happened to one message before the tail.
#[derive(Default)]
struct Changes {
    edited: Option<(MessageText, Timestamp)>,
    deleted: Option<Timestamp>,
    /// Who reacts in the end.
    reactions: BTreeMap<(UserId, Emoji), bool>,
}

/// See the module.
pub struct Tail {
    me: UserId,
    wanted: Wanted,
    items: VecDeque<Item>,
    changes: BTreeMap<Seq, Changes>,
    /// Messages that were sent before, in the archive or in the tail.
    sent: HashSet<(UserId, MessageId)>,
    /// Reactions in `changes`.
    reacted: usize,
    is_whole: bool,
}

/// Those messages among the events that are archived already.
async fn archived(
    state: &State,
    room: &RoomRow,
    events: &[(Seq, StoredEvent)],
) -> Result<Vec<(UserId, MessageId)>, ApiError> {
    let sent = events.iter().filter_map(|(_, event)| match event {
        StoredEvent::ReceiveMsg(message) => Some((message.from.id, message.id)),
        _ => None,
    });
    let sent: Vec<_> = sent.collect();
    Ok(sent::archived_among(&state.database, room.room_id(), room.archived_seq, &sent).await?)
}

impl Tail {
    /// Reads all of it; without NATS none, as reading goes on. Where events were archived and purged
    /// while they were read, `room` is how far the room is archived by then.
    pub async fn read(
        state: &State,
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
            // Written down before the purge: what this does not tell of was there.
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
        state: &State,
        room: &RoomRow,
        me: UserId,
        wanted: Wanted,
    ) -> Result<Self, ApiError> {
        let (items, changes) = (VecDeque::new(), BTreeMap::new());
        let sent = HashSet::new();
        let mut tail = Self { me, wanted, items, changes, sent, reacted: 0, is_whole: true };
        let mut from = room.archived_seq;
        loop {
            let entries = match state.log.after(room.room_id(), from, BATCH).await {
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
                tail.take(room, seq, event)?;
            }
            if entries.len() < BATCH {
                return tail.named(state).await;
            }
        }
    }

    /// With the names that are shown of authors whose accounts are deleted.
    async fn named(mut self, state: &State) -> Result<Self, ApiError> {
        let gone = Gone::among(state, self.items.iter().map(Item::author)).await?;
        for item in &mut self.items {
            let author = item.author();
            let from = &mut item.message.from;
            from.name = gone.name(author, from.name.as_str())?;
        }
        Ok(self)
    }

    /// The answer is what the database has.
    fn keep_nothing(&mut self) {
        self.items.clear();
        self.changes.clear();
        self.sent.clear();
        self.is_whole = false;
    }

    /// Who asks.
    pub fn me(&self) -> UserId {
        self.me
    }

    /// Whether NATS answered.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// The messages that are wanted, oldest first.
    pub fn into_items(self) -> VecDeque<Item> {
        self.items
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    fn take(&mut self, room: &RoomRow, seq: Seq, event: StoredEvent) -> Result<(), ApiError> {
        match event {
            StoredEvent::ReceiveMsg(message) => self.take_message(room, seq, message),
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

    fn take_message(&mut self, room: &RoomRow, seq: Seq, message: Message) {
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
            self.items.push_back(Item::sent(room.room_id(), seq, message));
            self.items.drain(..self.items.len().saturating_sub(limit));
        }
    }

    fn item(&mut self, seq: Seq) -> Option<&mut Item> {
        let index = self.items.binary_search_by_key(&seq, |item| item.seq).ok()?;
        self.items.get_mut(index)
    }

    fn change(&mut self, room: &RoomRow, target: Seq, change: impl FnOnce(&mut Changes)) {
        let is_before = target <= room.archived_seq;
        if is_before && (self.changes.len() < CHANGED || self.changes.contains_key(&target)) {
            change(self.changes.entry(target).or_default());
        }
    }

    /// Of a message in the tail, all reactions are in the tail.
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

    /// What the tail says of a message before it. Whether somebody reacted before, `had` knows.
    pub fn apply(
        &self,
        item: &mut Item,
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

    /// Who reacts in the tail to messages before it, from `first` to `last`.
    pub fn reacting(&self, first: Seq, last: Seq) -> std::collections::BTreeSet<UserId> {
        let changes = self.changes.range(first..=last).flat_map(|(_, changes)| &changes.reactions);
        changes.map(|((user, _), _)| *user).collect()
    }
}
