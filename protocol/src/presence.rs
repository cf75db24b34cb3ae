//! Presence queries: requests to the gateways on [`crate::subject::online`], for the online users of a room.

use serde::{Deserialize, Serialize};

use crate::{UserId, limits};

/// The request: users whose presence is queried, at most [`Self::USERS`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Users", into = "Users")]
pub struct PresenceQuery(Vec<UserId>);

#[derive(Serialize, Deserialize)]
struct Users {
    users: Vec<UserId>,
}

/// The reply: those of the users who are online.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresenceReply {
    pub online: Vec<UserId>,
}

/// A query for too many users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a presence query is for at most {} users", limits::PAGE_MAX)]
pub struct TooManyUsers;

/// A payload that is not a query or reply of any known version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a presence query or its reply")]
pub struct PresencePayloadError;

impl PresenceQuery {
    /// Maximum number of users: a page of members. Each costs a lookup in every gateway with the room.
    pub const USERS: usize = limits::PAGE_MAX as usize;

    /// Fails for more than [`Self::USERS`].
    pub fn new(users: Vec<UserId>) -> Result<Self, TooManyUsers> {
        if users.len() > Self::USERS { Err(TooManyUsers) } else { Ok(Self(users)) }
    }

    pub fn users(&self) -> &[UserId] {
        &self.0
    }

    /// The request's payload.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Parses a request's payload.
    pub fn decode(payload: &[u8]) -> Result<Self, PresencePayloadError> {
        serde_json::from_slice(payload).map_err(|_| PresencePayloadError)
    }
}

impl TryFrom<Users> for PresenceQuery {
    type Error = TooManyUsers;
    fn try_from(Users { users }: Users) -> Result<Self, TooManyUsers> {
        Self::new(users)
    }
}

impl From<PresenceQuery> for Users {
    fn from(PresenceQuery(users): PresenceQuery) -> Self {
        Self { users }
    }
}

impl PresenceReply {
    /// The reply's payload.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Parses a reply's payload.
    pub fn decode(payload: &[u8]) -> Result<Self, PresencePayloadError> {
        serde_json::from_slice(payload).map_err(|_| PresencePayloadError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(count: usize) -> Vec<UserId> {
        (0..count).map(|_| UserId::generate()).collect()
    }

    #[test]
    fn query_and_reply_round_trip() {
        for count in [0, 1, PresenceQuery::USERS] {
            let query = PresenceQuery::new(users(count)).unwrap();
            assert_eq!(PresenceQuery::decode(&query.encode()), Ok(query));
            let reply = PresenceReply { online: users(count) };
            assert_eq!(PresenceReply::decode(&reply.encode()), Ok(reply));
        }
    }

    proptest::proptest! {
        #[test]
        fn a_payload_of_any_kind_is_read_or_refused(payload in "\\PC{0,40}|\\{\"users\":\\[(\"\\PC{0,36}\")?\\]\\}") {
            let payload = payload.as_bytes();
            if let Ok(query) = PresenceQuery::decode(payload) {
                proptest::prop_assert_eq!(PresenceQuery::decode(&query.encode()), Ok(query));
            }
            if let Ok(reply) = PresenceReply::decode(payload) {
                proptest::prop_assert_eq!(PresenceReply::decode(&reply.encode()), Ok(reply));
            }
        }
    }

    #[test]
    fn a_query_is_for_a_page_of_users_at_most() {
        let many = users(PresenceQuery::USERS + 1);
        assert_eq!(PresenceQuery::new(many.clone()), Err(TooManyUsers));
        let payload = serde_json::to_vec(&Users { users: many }).unwrap();
        assert_eq!(PresenceQuery::decode(&payload), Err(PresencePayloadError));
        assert_eq!(PresenceReply::decode(b"{}"), Err(PresencePayloadError));
    }
}
