//! Names and texts from clients, as types that can only contain valid values.

mod message_text;
mod parse;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, schema::Type};

/// Why a text is not a valid name. The message is shown to the person who typed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseNameError {
    /// In characters.
    #[error("must have {min} to {max} characters, has {got}")]
    Length { min: usize, max: usize, got: usize },
    /// A character that this kind of name cannot hold.
    #[error("must consist of {allowed}; {found:?} is not allowed")]
    Character { allowed: &'static str, found: char },
    /// Control or bidirectional override characters, which make one text look like another.
    #[error("must not contain control or direction-changing characters")]
    Invisible,
}

/// The characters that [`str::trim`] removes (Unicode's White_Space), as members of a character class.
macro_rules! space {
    () => {
        r"\t-\r \u0085\u00A0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000"
    };
}
use space;

/// The characters that [`parse::is_invisible`] finds, as members of a character class.
macro_rules! invisible {
    () => {
        r"\u0000-\u001F\u007F-\u009F\u061C\u200B\u200E\u200F\u202A-\u202E\u2060-\u2064\u2066-\u2069\uFEFF"
    };
}

/// The pattern of texts that [`parse::line`] accepts: surrounding white space, which is trimmed, a first
/// character, up to `$between` more, and a last one. It ignores that NFC may change the length, which a pattern
/// cannot express.
macro_rules! line {
    ($between:literal) => {
        concat!(
            "^[",
            space!(),
            "]*[^",
            space!(),
            invisible!(),
            "](?:[^",
            invisible!(),
            "]{0,",
            $between,
            "}[^",
            space!(),
            invisible!(),
            "])?[",
            space!(),
            "]*$"
        )
    };
}

/// Defines a type for a name. The pattern is for the OpenAPI document; it must mean the same in ECMA-262,
/// Python and Rust.
macro_rules! name {
    ($(#[doc = $doc:literal])* $name:ident, $pattern:expr, $example:literal) => {
        $(#[doc = $doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "Cow<'_, str>")]
        pub struct $name(Box<str>);

        impl utoipa::PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .description(Some([$($doc.trim()),*].join("\n")))
                    .pattern(Some(Self::PATTERN))
                    .examples([$example])
                    .into()
            }
        }

        impl utoipa::ToSchema for $name {}

        impl $name {
            /// A regular expression for what [`Self::parse`] accepts.
            pub const PATTERN: &str = $pattern;

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<Cow<'_, str>> for $name {
            type Error = ParseNameError;
            fn try_from(text: Cow<'_, str>) -> Result<Self, ParseNameError> {
                Self::parse(&text)
            }
        }

        impl std::str::FromStr for $name {
            type Err = ParseNameError;
            fn from_str(text: &str) -> Result<Self, ParseNameError> {
                Self::parse(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

name!(
    /// An account's name: 3 to 32 of `a-z 0-9 . _ -`, upper case folded to lower.
    UserName, "^[A-Za-z0-9._-]{3,32}$", "ada"
);
name!(
    /// A user's name as others see it: 1 to 40 characters of any script, NFC.
    DisplayName, line!(38), "Ada Lovelace"
);
name!(
    /// A room's name in URLs: 1 to 64 letters and digits of any script, `-` and `_`, NFC.
    RoomName, r"^[\p{L}\p{M}\p{N}_-]{1,64}$", "lobby"
);
name!(
    /// A room's title: 1 to 120 characters of any script, NFC.
    RoomTitle, line!(118), "The lobby"
);
name!(
    /// A message's text. Its length limit is separate, as operators can change it.
    MessageText, r"^[^\u0000]*$", "hello"
);
name!(
    /// A reaction: one emoji, at most 16 characters.
    Emoji, concat!("^[^", space!(), r"\u0000-\u001F\u007F-\u009FA-Za-z]{1,16}$"), "👍"
);
