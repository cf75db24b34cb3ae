//! Was a message sent before? A request on [`crate::subject::sent`], asked by gateways before they store
//! a message under an id that may be older than JetStream's dedupe window.

use serde::{Deserialize, Serialize};

use crate::{MessageId, Seq, Timestamp, UserId};

/// Which message. The room is in the subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    pub author: UserId,
    pub id: MessageId,
}

/// Where and when a message was stored first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct First {
    pub seq: Seq,
    pub at: Timestamp,
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It was.
    Sent(First),
    /// It is certain that it was not.
    NotSent,
    /// The database or the stream did not answer. Nothing may be stored on the strength of this.
    Unknown,
}

/// A payload that no version of this code wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a question or an answer of what was sent")]
pub struct NotSentMessage;

impl Question {
    /// The request's payload.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a request.
    pub fn decode(payload: &[u8]) -> Result<Self, NotSentMessage> {
        serde_json::from_slice(payload).map_err(|_| NotSentMessage)
    }
}

impl Answer {
    /// The answer's payload.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads an answer.
    pub fn decode(payload: &[u8]) -> Result<Self, NotSentMessage> {
        serde_json::from_slice(payload).map_err(|_| NotSentMessage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn question_and_answer_are_the_same_after_the_wire() {
        let question = Question { author: UserId::generate(), id: MessageId::generate() };
        assert_eq!(Question::decode(&question.encode()), Ok(question));
        let first = First { seq: 7.into(), at: Timestamp::now() };
        for answer in [Answer::Sent(first), Answer::NotSent, Answer::Unknown] {
            assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
        }
    }

    #[test]
    fn nothing_else_is_taken_for_an_answer() {
        for payload in ["", "null", "{}", "\"sent\"", "[]", r#"{"sent":{"seq":1}}"#, "\"later\""] {
            assert_eq!(Answer::decode(payload.as_bytes()), Err(NotSentMessage), "{payload}");
        }
        assert_eq!(Answer::decode(b"\"not-sent\""), Ok(Answer::NotSent));
    }

    proptest::proptest! {
        #[test]
        fn hostile_payloads_are_refused_without_panic(payload: Vec<u8>) {
            let _ = Question::decode(&payload);
            let _ = Answer::decode(&payload);
        }
    }
}
