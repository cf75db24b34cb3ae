//! Ids: UUIDs in their hyphenated text form (RFC 9562, section 4), one type per thing named.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A text that is not a hyphenated UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057")]
pub struct ParseIdError;

/// Only the hyphenated form of 36 characters: braces, URNs and bare hex would give one id several
/// spellings, and a spelling ends up in NATS subjects and dedupe keys.
fn parse(text: &str) -> Result<Uuid, ParseIdError> {
    if text.len() != 36 {
        return Err(ParseIdError);
    }
    Uuid::try_parse(text).map_err(|_| ParseIdError)
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
        )]
        #[serde(try_from = "std::borrow::Cow<'_, str>", into = "Uuid")]
        #[schema(value_type = String, format = Uuid, example = "01890a5d-ac96-774b-bcce-b302099a8057")]
        pub struct $name(Uuid);

        impl $name {
            /// A new id, ordered by time (UUIDv7).
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }

            /// The UUID itself, as databases store it.
            pub const fn as_uuid(self) -> Uuid {
                self.0
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                parse(text).map(Self)
            }
        }

        impl TryFrom<std::borrow::Cow<'_, str>> for $name {
            type Error = ParseIdError;
            fn try_from(text: std::borrow::Cow<'_, str>) -> Result<Self, ParseIdError> {
                parse(&text).map(Self)
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Uuid {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }
    };
}

id!(
    /// An account.
    UserId
);
id!(
    /// A room. Its text is also the last token of the room's NATS subjects.
    RoomId
);
id!(
    /// A file of a room.
    FileId
);
id!(
    /// A login session: the family of one login's refresh tokens.
    SessionId
);
id!(
    /// A message, named by its sender: the same id by the same user in the same room is stored once.
    MessageId
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn other_spellings_of_a_uuid_are_refused() {
        let id = RoomId::generate();
        let hyphenated = id.to_string();
        assert_eq!(hyphenated.parse(), Ok(id));
        for spelling in [
            hyphenated.replace('-', ""),
            format!("{{{hyphenated}}}"),
            format!("urn:uuid:{hyphenated}"),
            format!("{hyphenated} "),
        ] {
            assert_eq!(spelling.parse::<RoomId>(), Err(ParseIdError), "{spelling}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_parses_can_break_a_subject(text in ".{0,40}") {
            if let Ok(id) = text.parse::<RoomId>() {
                prop_assert!(id.to_string().bytes().all(|b| b.is_ascii_hexdigit() || b == b'-'));
            }
        }
    }
}
