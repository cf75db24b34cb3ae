//! Keys and values of the bucket of revocations.

use serde::{Deserialize, Serialize};

use crate::{Role, RoomId, SessionId, UserId};

/// A key of [`super::REVOKED_BUCKET`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Revoked {
    /// A room was deleted.
    Room(RoomId),
    /// A session was logged out or revoked.
    Session(SessionId),
    /// An account was deleted.
    User(UserId),
    /// A user's role in a room has changed. The value is a [`MemberState`].
    Member(RoomId, UserId),
}

impl Revoked {
    /// The key's text.
    pub fn key(self) -> String {
        match self {
            Self::Room(room) => format!("room.{room}"),
            Self::Session(session) => format!("session.{session}"),
            Self::User(user) => format!("user.{user}"),
            Self::Member(room, user) => format!("member.{room}.{user}"),
        }
    }

    /// Parses a key. `None` for a key of an unknown kind, which a newer version wrote.
    pub fn parse(key: &str) -> Option<Self> {
        let mut parts = key.split('.');
        let parsed = match (parts.next()?, parts.next()?, parts.next()) {
            ("room", room, None) => Self::Room(room.parse().ok()?),
            ("session", session, None) => Self::Session(session.parse().ok()?),
            ("user", user, None) => Self::User(user.parse().ok()?),
            ("member", room, Some(user)) => Self::Member(room.parse().ok()?, user.parse().ok()?),
            _ => return None,
        };
        parts.next().is_none().then_some(parsed)
    }
}

/// A user's role in a room as of the room's `version`, which every removal and every role change
/// increments. Only the version orders states and tickets, never a clock: the higher version wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberState {
    pub version: u64,
    /// `None` for a user who left, was removed or was banned. The field is required, as `null`: a value without
    /// it is corrupt, not a removal.
    #[serde(deserialize_with = "Option::deserialize")]
    pub role: Option<Role>,
}

/// A value that is not a [`MemberState`] of any known version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the state of a member")]
pub struct MemberStateError;

impl MemberState {
    /// The value in the bucket.
    pub fn encode(self) -> Vec<u8> {
        serde_json::to_vec(&self).unwrap_or_default()
    }

    /// Parses a value.
    pub fn decode(value: &[u8]) -> Result<Self, MemberStateError> {
        serde_json::from_slice(value).map_err(|_| MemberStateError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revocation_key_round_trips() {
        let (room, user, session) = (RoomId::generate(), UserId::generate(), SessionId::generate());
        for revoked in [
            Revoked::Room(room),
            Revoked::Session(session),
            Revoked::User(user),
            Revoked::Member(room, user),
        ] {
            assert_eq!(Revoked::parse(&revoked.key()), Some(revoked));
        }
        assert_eq!(Revoked::parse("room.x"), None);
        assert_eq!(Revoked::parse(&format!("room.{room}.{user}")), None);
    }

    #[test]
    fn a_member_state_has_a_fixed_encoding() {
        let removed = MemberState { version: 7, role: None };
        assert_eq!(removed.encode(), br#"{"version":7,"role":null}"#);
        let promoted = MemberState { version: 8, role: Some(Role::Moderator) };
        assert_eq!(promoted.encode(), br#"{"version":8,"role":"moderator"}"#);
        for value in ["", r#"{"version":7}"#, r#"{"role":null}"#, r#"{"version":-1,"role":null}"#] {
            assert_eq!(MemberState::decode(value.as_bytes()), Err(MemberStateError), "{value}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_member_state_round_trips(version: u64, role in 0..4_usize) {
            let role = [None, Some(Role::Member), Some(Role::Moderator), Some(Role::Owner)][role];
            let state = MemberState { version, role };
            proptest::prop_assert_eq!(MemberState::decode(&state.encode()), Ok(state));
        }

        #[test]
        fn arbitrary_member_states_are_refused(value: Vec<u8>) {
            proptest::prop_assert!(MemberState::decode(&value).is_err());
        }
    }
}
