//! Which kinds of reactions messages have, as far as the events delivered here show: a gateway has no
//! database. That is enough to refuse a flood early; the archive bounds what is kept.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{Emoji, Seq, limits::REACTION_KINDS, stored::StoredEvent};

/// The newest messages are remembered. A flood on older ones is bounded by the archive.
const MESSAGES: usize = 64;

/// See the module. Without reactions it takes no memory.
#[derive(Debug, Default)]
pub struct ReactionKinds(BTreeMap<Seq, BTreeSet<Emoji>>);

impl ReactionKinds {
    /// Adds a stored event `reaction`.
    pub fn note(&mut self, payload: &[u8]) {
        let Ok(StoredEvent::Reaction { target, emoji, .. }) = StoredEvent::decode(payload) else {
            return;
        };
        let kinds = self.0.entry(target).or_default();
        if kinds.len() < REACTION_KINDS {
            kinds.insert(emoji);
        }
        if self.0.len() > MESSAGES {
            self.0.pop_first();
        }
    }

    /// Whether a message may get this kind in addition to those that it has.
    pub fn may_have(&self, target: Seq, emoji: &Emoji) -> bool {
        let kinds = self.0.get(&target);
        kinds.is_none_or(|kinds| kinds.len() < REACTION_KINDS || kinds.contains(emoji))
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Timestamp, UserId, stored::Person};

    use super::*;

    fn emoji(n: usize) -> Emoji {
        Emoji::parse(&char::from_u32(0x1F600 + n as u32).unwrap().to_string()).unwrap()
    }

    fn reaction(target: u32, n: usize) -> Vec<u8> {
        let by = Person { id: UserId::generate(), name: "Ada".parse().unwrap() };
        let (target, emoji, at) = (target.into(), emoji(n), Timestamp::now());
        StoredEvent::Reaction { target, emoji, on: true, by, at }.encode()
    }

    #[test]
    fn a_message_has_so_many_kinds_and_any_number_of_each() {
        let mut kinds = ReactionKinds::default();
        for n in 0..REACTION_KINDS {
            assert!(kinds.may_have(7.into(), &emoji(n)));
            kinds.note(&reaction(7, n));
        }
        assert!(!kinds.may_have(7.into(), &emoji(REACTION_KINDS)));
        assert!(
            kinds.may_have(7.into(), &emoji(0)) && kinds.may_have(8.into(), &emoji(REACTION_KINDS))
        );
    }

    #[test]
    fn so_many_messages_are_remembered_and_what_is_no_reaction_is_not() {
        let mut kinds = ReactionKinds::default();
        (0..200_u32).for_each(|target| kinds.note(&reaction(target, 0)));
        kinds.note(b"[]");
        assert_eq!(kinds.0.len(), MESSAGES);
        assert!(kinds.0.contains_key(&Seq::from(199_u32)));
    }
}
