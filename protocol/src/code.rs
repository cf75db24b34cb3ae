//! The stable words by which a program tells one refusal of the gateway from another.

use std::borrow::Cow;

use serde::Serialize;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, schema::Type};

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)*) => {
        /// Why the gateway refused; on the wire a kebab-case word that never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $variant,)* }

        impl Code {
            /// Every code, for documents and tests.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

codes! {
    // What was sent is not of the contract's shape.
    /// Text that is not JSON, or nested deeper than 128.
    MalformedJson = "malformed-json",
    /// An event name that the contract does not have.
    UnknownEvent = "unknown-event",
    /// A field that the event does not have.
    UnknownField = "unknown-field",
    /// A field that the event needs is not there.
    MissingField = "missing-field",
    /// A field that occurs twice.
    DuplicateField = "duplicate-field",
    /// A value of another JSON type than the field's.
    WrongType = "wrong-type",
    /// A value of the right type that is not a valid name, id or number.
    InvalidValue = "invalid-value",
    /// `roomId` is not a room id.
    BadRoomId = "bad-room-id",
    /// Binary attachments, which no event of the contract takes.
    UnexpectedBinary = "unexpected-binary",

    // Who is asking.
    /// The handshake brought no token.
    TokenMissing = "token-missing",
    /// Not a token of ours: forged, damaged, or signed by an unknown key.
    TokenInvalid = "token-invalid",
    /// The access token's time is over.
    TokenExpired = "token-expired",
    /// A ticket or refresh token where an access token belongs.
    TokenWrongKind = "token-wrong-kind",
    /// The session was logged out or revoked.
    SessionRevoked = "session-revoked",
    /// `userId` or the refreshed token names another user than the socket's.
    WrongUser = "wrong-user",
    /// Not a ticket of ours.
    TicketInvalid = "ticket-invalid",
    /// The ticket's two minutes are over; enter the room again for a new one.
    TicketExpired = "ticket-expired",
    /// An access token where a ticket belongs.
    TicketWrongKind = "ticket-wrong-kind",
    /// The ticket is for another room.
    TicketWrongRoom = "ticket-wrong-room",
    /// The ticket is for another user.
    TicketWrongUser = "ticket-wrong-user",

    // What may be done.
    /// The socket has not joined the room.
    NotJoined = "not-joined",
    /// The caller's role does not allow it.
    Forbidden = "forbidden",
    /// The room was deleted.
    RoomDeleted = "room-deleted",
    /// No such complete file in this room.
    NoSuchFile = "no-such-file",
    /// No message at that seq in this room, or it is too old to be in the stream.
    NoSuchMessage = "no-such-message",
    /// The message has as many kinds of reactions as a message may have; one of those that are there can
    /// still be added to.
    TooManyReactions = "too-many-reactions",
    /// Neither text nor file.
    MessageEmpty = "message-empty",
    /// Longer than `LIMIT_MESSAGE_CHARS`.
    MessageTooLong = "message-too-long",
    /// More events a second than `LIMIT_EVENT_RATE` allows.
    RateLimited = "rate-limited",
    /// More than `LIMIT_USER_EVENT_RATE` by all connections of the user together, HTTP too.
    UserRateLimited = "user-rate-limited",
    /// More than `LIMIT_ROOM_EVENT_RATE` to this room, by all who send to it.
    RoomRateLimited = "room-rate-limited",
    /// More rooms than `LIMIT_ROOMS_PER_SOCKET`.
    TooManyRooms = "too-many-rooms",
    /// More sockets of this user than `LIMIT_SOCKETS_PER_USER`.
    TooManySockets = "too-many-sockets",
    /// More sockets from this address than `LIMIT_SOCKETS_PER_ADDRESS`; in the HTTP answer to the
    /// handshake.
    TooManyFromAddress = "too-many-from-address",

    // What failed on our side; the same event may be sent again.
    /// NATS did not answer. Send again with the same `id`: it is stored once.
    Unavailable = "unavailable",
    /// This gateway has more to do than it can queue.
    Busy = "busy",
    /// The stream is full and takes no more until it is archived.
    StorageFull = "storage-full",
}

impl utoipa::PartialSchema for Code {
    fn schema() -> RefOr<Schema> {
        let words = Self::ALL.iter().map(|code| code.as_str());
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).into()
    }
}

impl utoipa::ToSchema for Code {}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A refusal as a client sees it: the word for its program, the sentence for its human.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error, utoipa::ToSchema)]
#[error("{detail}")]
pub struct Refusal {
    /// Stable, kebab-case.
    pub code: Code,
    /// What was refused and what to do; never anything internal.
    pub detail: Cow<'static, str>,
}

impl Refusal {
    /// A refusal with its sentence.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_kebab_case_words() {
        let mut words: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        for word in &words {
            assert!(word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{word}");
        }
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Code::ALL.len());
    }
}
