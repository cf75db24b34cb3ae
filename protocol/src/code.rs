//! Error codes: stable words by which a client distinguishes errors.

use std::borrow::Cow;

use serde::Serialize;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, schema::Type};

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)*) => {
        /// An error code. On the wire a kebab-case word whose meaning never changes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $variant,)* }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The text on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

codes! {
    // Malformed input.
    /// The text is not JSON, or nested deeper than 128 levels.
    MalformedJson = "malformed-json",
    /// There is no event of this name.
    UnknownEvent = "unknown-event",
    /// The event has no such field.
    UnknownField = "unknown-field",
    /// A required field is missing.
    MissingField = "missing-field",
    /// A field that occurs twice.
    DuplicateField = "duplicate-field",
    /// A value does not have the field's JSON type.
    WrongType = "wrong-type",
    /// A value has the right type but is no valid name, id or number.
    InvalidValue = "invalid-value",
    /// `roomId` is not a room id.
    BadRoomId = "bad-room-id",
    /// The event has binary attachments, which no event accepts.
    UnexpectedBinary = "unexpected-binary",

    // Authentication.
    /// The handshake has no token.
    TokenMissing = "token-missing",
    /// The token is forged or damaged, or its key is unknown.
    TokenInvalid = "token-invalid",
    /// The access token has expired.
    TokenExpired = "token-expired",
    /// A ticket or refresh token was sent instead of an access token.
    TokenWrongKind = "token-wrong-kind",
    /// The session was logged out or revoked.
    SessionRevoked = "session-revoked",
    /// `userId` or the new token is for another user than the socket's.
    WrongUser = "wrong-user",
    /// The ticket is forged or damaged, or its key is unknown.
    TicketInvalid = "ticket-invalid",
    /// The ticket has expired. `GET /room/{name}` returns a new one.
    TicketExpired = "ticket-expired",
    /// An access token was sent instead of a ticket.
    TicketWrongKind = "ticket-wrong-kind",
    /// The ticket is for another room.
    TicketWrongRoom = "ticket-wrong-room",
    /// The ticket is for another user.
    TicketWrongUser = "ticket-wrong-user",

    // Authorisation and limits.
    /// The socket has not joined the room.
    NotJoined = "not-joined",
    /// The caller's role does not allow it.
    Forbidden = "forbidden",
    /// The room was deleted.
    RoomDeleted = "room-deleted",
    /// The room has no complete file with this id.
    NoSuchFile = "no-such-file",
    /// The room has no message at this seq, or the stream no longer holds it.
    NoSuchMessage = "no-such-message",
    /// The message has the maximum number of different reactions. Existing ones can still be used.
    TooManyReactions = "too-many-reactions",
    /// The message has neither text nor file.
    MessageEmpty = "message-empty",
    /// The message is longer than `LIMIT_MESSAGE_CHARS`.
    MessageTooLong = "message-too-long",
    /// The socket sends more than `LIMIT_EVENT_RATE` allows.
    RateLimited = "rate-limited",
    /// The user sends more than `LIMIT_USER_EVENT_RATE`, over all connections and HTTP.
    UserRateLimited = "user-rate-limited",
    /// The room receives more than `LIMIT_ROOM_EVENT_RATE` from all users.
    RoomRateLimited = "room-rate-limited",
    /// The socket is in `LIMIT_ROOMS_PER_SOCKET` rooms.
    TooManyRooms = "too-many-rooms",
    /// The user has `LIMIT_SOCKETS_PER_USER` sockets.
    TooManySockets = "too-many-sockets",
    /// The address has `LIMIT_SOCKETS_PER_ADDRESS` sockets. Sent as the HTTP response to the handshake.
    TooManyFromAddress = "too-many-from-address",

    // Failures of the server. The same event may be sent again.
    /// NATS did not answer. A retry with the same `id` is safe: the message is stored once.
    Unavailable = "unavailable",
    /// A queue of this gateway is full, or its memory is short.
    Busy = "busy",
    /// The stream is full until it is archived.
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

/// An error as the client receives it: a code for the program and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error, utoipa::ToSchema)]
#[error("{detail}")]
pub struct Refusal {
    /// Stable, kebab-case.
    pub code: Code,
    /// A sentence for people: the reason and what to do. Contains nothing internal.
    pub detail: Cow<'static, str>,
}

impl Refusal {
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
