//! The kinds of reactions of recent messages, collected from delivered events because a gateway has no
//! database. This refuses a flood of kinds early; the exact limit is applied by the archive.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{Emoji, Seq, limits::REACTION_KINDS, stored::StoredEvent};

/// Number of messages that are remembered, the newest ones. Reactions to older messages are limited only by the
/// archive.
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

    /// Whether a message may have this kind of reaction too.
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
    fn kinds_of_reactions_are_limited_but_not_their_number() {
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
    fn only_the_newest_messages_with_reactions_are_remembered() {
        let mut kinds = ReactionKinds::default();
        (0..200_u32).for_each(|target| kinds.note(&reaction(target, 0)));
        kinds.note(b"[]");
        assert_eq!(kinds.0.len(), MESSAGES);
        assert!(kinds.0.contains_key(&Seq::from(199_u32)));
    }
}
