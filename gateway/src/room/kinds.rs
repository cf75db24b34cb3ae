//! Which kinds of reactions messages have, as far as events that were delivered here tell: a gateway has
//! no database. Enough to refuse a flood at the door; the archive bounds what is kept.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{Emoji, Seq, limits::REACTION_KINDS, stored::StoredEvent};

/// Messages that are remembered: the newest ones. A flood at older ones is bounded by the archive.
const MESSAGES: usize = 64;

/// See the module. Empty, and without memory, in a room where nobody reacts.
#[derive(Debug, Default)]
pub struct Kinds(BTreeMap<Seq, BTreeSet<Emoji>>);

impl Kinds {
    /// Takes in a stored event `reaction`.
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

    /// Whether a message may have this one, beside those it has.
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
        let mut kinds = Kinds::default();
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
        let mut kinds = Kinds::default();
        (0..200_u32).for_each(|target| kinds.note(&reaction(target, 0)));
        kinds.note(b"[]");
        assert_eq!(kinds.0.len(), MESSAGES);
        assert!(kinds.0.contains_key(&Seq::from(199_u32)));
    }
}
