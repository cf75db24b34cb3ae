//! Who is online in a room, asked of the gateways: a request on [`crate::subject::online`].

use serde::{Deserialize, Serialize};

use crate::{UserId, limits};

/// Which of these users are online in the room?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Users", into = "Users")]
pub struct Question(Vec<UserId>);

#[derive(Serialize, Deserialize)]
struct Users {
    users: Vec<UserId>,
}

/// Those of the asked who are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub online: Vec<UserId>,
}

/// A question after more users than one may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("at most {} users are asked for at once", limits::PAGE_MAX)]
pub struct TooMany;

/// A payload that no version of this code wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a question or an answer of who is online")]
pub struct NotPresence;

impl Question {
    /// A page's worth at most: a question costs every gateway with the room a look per user.
    pub const USERS: usize = limits::PAGE_MAX as usize;

    /// Asks for [`Self::USERS`] at most.
    pub fn new(users: Vec<UserId>) -> Result<Self, TooMany> {
        if users.len() > Self::USERS { Err(TooMany) } else { Ok(Self(users)) }
    }

    /// Who is asked for.
    pub fn users(&self) -> &[UserId] {
        &self.0
    }

    /// The request's payload.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a request.
    pub fn decode(payload: &[u8]) -> Result<Self, NotPresence> {
        serde_json::from_slice(payload).map_err(|_| NotPresence)
    }
}

impl TryFrom<Users> for Question {
    type Error = TooMany;
    fn try_from(Users { users }: Users) -> Result<Self, TooMany> {
        Self::new(users)
    }
}

impl From<Question> for Users {
    fn from(Question(users): Question) -> Self {
        Self { users }
    }
}

impl Answer {
    /// The answer's payload.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads an answer.
    pub fn decode(payload: &[u8]) -> Result<Self, NotPresence> {
        serde_json::from_slice(payload).map_err(|_| NotPresence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(count: usize) -> Vec<UserId> {
        (0..count).map(|_| UserId::generate()).collect()
    }

    #[test]
    fn question_and_answer_are_the_same_after_the_wire() {
        for count in [0, 1, Question::USERS] {
            let question = Question::new(users(count)).unwrap();
            assert_eq!(Question::decode(&question.encode()), Ok(question));
            let answer = Answer { online: users(count) };
            assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
        }
    }

    proptest::proptest! {
        #[test]
        fn a_payload_of_any_kind_is_read_or_refused(payload in "\\PC{0,40}|\\{\"users\":\\[(\"\\PC{0,36}\")?\\]\\}") {
            let payload = payload.as_bytes();
            if let Ok(question) = Question::decode(payload) {
                proptest::prop_assert_eq!(Question::decode(&question.encode()), Ok(question));
            }
            let _ = Answer::decode(payload);
        }
    }

    #[test]
    fn nobody_asks_for_more_than_a_page() {
        let many = users(Question::USERS + 1);
        assert_eq!(Question::new(many.clone()), Err(TooMany));
        let payload = serde_json::to_vec(&Users { users: many }).unwrap();
        assert_eq!(Question::decode(&payload), Err(NotPresence));
        assert_eq!(Answer::decode(b"{}"), Err(NotPresence));
    }
}
