//! Looking up a message by its id. Before a gateway stores a message whose id may be older than
//! JetStream's dedupe window, it sends this request on [`crate::subject::sent`] to a process with a
//! database.

use serde::{Deserialize, Serialize};

use crate::{MessageId, Seq, Timestamp, UserId};

/// The request. The room is in the subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageLookup {
    pub author: UserId,
    pub id: MessageId,
}

/// The seq and time at which a message was first stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstStored {
    pub seq: Seq,
    pub at: Timestamp,
}

/// The reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LookupReply {
    #[serde(rename = "sent")]
    Found(FirstStored),
    /// The message was certainly never stored.
    #[serde(rename = "not-sent")]
    NotFound,
    /// The database or the stream did not answer. The message must not be stored.
    #[serde(rename = "unknown")]
    Unknown,
}

/// A payload that is not a request or reply of any known version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a message lookup or its reply")]
pub struct LookupPayloadError;

impl MessageLookup {
    /// The request's payload.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Parses a request's payload.
    pub fn decode(payload: &[u8]) -> Result<Self, LookupPayloadError> {
        serde_json::from_slice(payload).map_err(|_| LookupPayloadError)
    }
}

impl LookupReply {
    /// The reply's payload.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Parses a reply's payload.
    pub fn decode(payload: &[u8]) -> Result<Self, LookupPayloadError> {
        serde_json::from_slice(payload).map_err(|_| LookupPayloadError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_and_reply_round_trip() {
        let lookup = MessageLookup { author: UserId::generate(), id: MessageId::generate() };
        assert_eq!(MessageLookup::decode(&lookup.encode()), Ok(lookup));
        let first = FirstStored { seq: 7.into(), at: Timestamp::now() };
        for reply in [LookupReply::Found(first), LookupReply::NotFound, LookupReply::Unknown] {
            assert_eq!(LookupReply::decode(&reply.encode()), Ok(reply));
        }
    }

    #[test]
    fn other_payloads_are_not_replies() {
        for payload in ["", "null", "{}", "\"sent\"", "[]", r#"{"sent":{"seq":1}}"#, "\"later\""] {
            assert_eq!(
                LookupReply::decode(payload.as_bytes()),
                Err(LookupPayloadError),
                "{payload}"
            );
        }
        assert_eq!(LookupReply::decode(b"\"not-sent\""), Ok(LookupReply::NotFound));
        assert_eq!(LookupReply::decode(b"\"unknown\""), Ok(LookupReply::Unknown));
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_payloads_are_refused(payload: Vec<u8>) {
            proptest::prop_assert!(MessageLookup::decode(&payload).is_err());
            proptest::prop_assert!(LookupReply::decode(&payload).is_err());
        }
    }
}
