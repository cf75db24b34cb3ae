//! Acknowledgements: the answers to client events.

use serde::Serialize;

use crate::{Seq, Timestamp, code::Refusal, stored::Person};

/// The users who are online in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Online {
    /// Users, each counted once regardless of their sockets.
    pub count: usize,
    /// At most 100 of them.
    pub users: Vec<Person>,
}

/// The fields of a successful acknowledgement, besides `ok: true`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Done {
    Joined(Joined),
    Stored(Stored),
    Empty(Empty),
}

/// The socket has joined the room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Joined {
    /// The seq of the room's newest event.
    #[schema(value_type = u64)]
    pub head: Seq,
    pub online: Online,
    /// False if the events since `after` were not replayed and must be read over HTTP.
    pub recovered: bool,
}

/// The event is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Stored {
    #[schema(value_type = u64)]
    pub seq: Seq,
    pub at: Timestamp,
    /// It was stored before with the same id; `seq` and `at` are those of that event.
    pub duplicate: bool,
}

/// No further fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Empty {}

impl Done {
    /// No further fields.
    pub const EMPTY: Self = Self::Empty(Empty {});
}

/// The only argument of an acknowledgement, as JSON.
pub fn encode_ack(outcome: &Result<Done, Refusal>) -> String {
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Ack<'a> {
        Ok {
            ok: bool,
            #[serde(flatten)]
            done: &'a Done,
        },
        Refused {
            ok: bool,
            error: &'a Refusal,
        },
    }
    let ack = match outcome {
        Ok(done) => Ack::Ok { ok: true, done },
        Err(error) => Ack::Refused { ok: false, error },
    };
    serde_json::to_string(&ack).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;

    #[test]
    fn acknowledgements_match_the_contract() {
        let online = Online { count: 0, users: vec![] };
        let joined = Done::Joined(Joined { head: 3.into(), online, recovered: true });
        assert_eq!(
            encode_ack(&Ok(joined)),
            r#"{"ok":true,"head":3,"online":{"count":0,"users":[]},"recovered":true}"#
        );
        assert_eq!(encode_ack(&Ok(Done::EMPTY)), r#"{"ok":true}"#);
        assert_eq!(
            encode_ack(&Err(Refusal::new(Code::NotJoined, "join first"))),
            r#"{"ok":false,"error":{"code":"not-joined","detail":"join first"}}"#
        );
    }
}
