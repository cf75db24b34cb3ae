//! The set of recent revocations, checked in addition to the expiry of tokens. Entries are only added: a late
//! entry changes nothing, and no message can remove one.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use protocol::{
    RoomId, UserId, limits,
    subject::{MemberState, MemberStateError, Revoked},
};

/// How long an entry is kept: longer than any revoked token can live.
const KEEP: Duration = Duration::from_secs(limits::REVOKED_SECONDS);
/// Expired entries are removed once per this many new ones, so that the sweep costs little on average.
const SWEEP_EVERY: usize = 1024;

/// An entry of the bucket of revocations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revocation {
    /// A session, an account or a room has ended. The value has no meaning.
    Over(Revoked),
    /// A user's membership in a room changed.
    Member(RoomId, UserId, MemberState),
}

impl Revocation {
    /// Reads an entry.
    pub fn parse(key: Revoked, value: &[u8]) -> Result<Self, MemberStateError> {
        match key {
            Revoked::Member(room, user) => {
                MemberState::decode(value).map(|state| Self::Member(room, user, state))
            }
            Revoked::Room(_) | Revoked::Session(_) | Revoked::User(_) => Ok(Self::Over(key)),
        }
    }
}

/// The revocations of the last minutes. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct RevokedSet(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    entries: RwLock<Entries>,
    is_complete: AtomicBool,
}

#[derive(Debug, Default)]
struct Entries {
    over: HashMap<Revoked, Instant>,
    /// The newest state of each membership.
    members: HashMap<(RoomId, UserId), (MemberState, Instant)>,
}

impl RevokedSet {
    /// Adds a revocation. False if it is known or outdated: entries may arrive late, and reading the bucket
    /// again returns all of them.
    pub fn insert(&self, revocation: Revocation) -> bool {
        let now = Instant::now();
        let mut entries = self.write();
        match revocation {
            Revocation::Over(revoked) => {
                let is_news = entries.over.insert(revoked, now).is_none();
                sweep(&mut entries.over, |at| now.duration_since(*at) < KEEP);
                is_news
            }
            Revocation::Member(room, user, state) => {
                let known = entries.members.get(&(room, user));
                if known.is_some_and(|(known, _)| known.version >= state.version) {
                    return false;
                }
                entries.members.insert((room, user), (state, now));
                sweep(&mut entries.members, |(_, at)| now.duration_since(*at) < KEEP);
                true
            }
        }
    }

    /// Sets whether the whole bucket has been read. Only then is every revoked ticket refused.
    pub fn set_complete(&self, is_complete: bool) {
        self.0.is_complete.store(is_complete, Ordering::Release);
    }

    /// See [`Self::set_complete`].
    pub fn is_complete(&self) -> bool {
        self.0.is_complete.load(Ordering::Acquire)
    }

    /// Whether any of these is revoked.
    pub fn contains_any(&self, revoked: &[Revoked]) -> bool {
        let over = &self.read().over;
        !over.is_empty() && revoked.iter().any(|revoked| over.contains_key(revoked))
    }

    /// The newest known state of a membership that changed.
    pub fn member(&self, room: RoomId, user: UserId) -> Option<MemberState> {
        self.read().members.get(&(room, user)).map(|(state, _)| *state)
    }

    fn read(&self) -> RwLockReadGuard<'_, Entries> {
        self.0.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Entries> {
        self.0.entries.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sweep<K: Eq + Hash, V>(entries: &mut HashMap<K, V>, is_kept: impl Fn(&V) -> bool) {
    if entries.len().is_multiple_of(SWEEP_EVERY) {
        entries.retain(|_, value| is_kept(value));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::Role;

    use super::*;

    #[test]
    fn an_entry_is_read_by_its_key() {
        let (room, user) = (RoomId::generate(), UserId::generate());
        let over = Revocation::parse(Revoked::Room(room), b"now");
        assert_eq!(over, Ok(Revocation::Over(Revoked::Room(room))));
        let state = MemberState { version: 3, role: Some(Role::Owner) };
        let member = Revocation::parse(Revoked::Member(room, user), &state.encode());
        assert_eq!(member, Ok(Revocation::Member(room, user, state)));
        assert_eq!(Revocation::parse(Revoked::Member(room, user), b"now"), Err(MemberStateError));
    }

    proptest! {
        /// States in any order and any number of times: the newest one wins, and is reported as new once.
        #[test]
        fn the_newest_state_of_a_member_counts(versions in prop::collection::vec(0..9_u64, 1..30)) {
            let (set, room, user) = (RevokedSet::default(), RoomId::generate(), UserId::generate());
            let mut newest = None;
            for version in versions {
                let is_news = newest.is_none_or(|newest| version > newest);
                let state = MemberState { version, role: None };
                prop_assert_eq!(set.insert(Revocation::Member(room, user, state)), is_news);
                newest = newest.max(Some(version));
                prop_assert_eq!(set.member(room, user).map(|state| state.version), newest);
            }
        }
    }
}
