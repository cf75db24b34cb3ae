//! Names and texts from clients, as types that can only contain valid values.

mod message_text;
mod parse;
#[cfg(test)]
mod pattern_tests;
mod stored;
#[cfg(test)]
mod tests;
mod visibility;

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, schema::Type};

pub use self::stored::Stored;

/// Why a text is not a valid name. The message is shown to the person who typed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseNameError {
    /// In characters.
    #[error("must have {min} to {max} characters, has {got}")]
    Length { min: usize, max: usize, got: usize },
    /// A character that this kind of name cannot hold.
    #[error("must consist of {allowed}; {found:?} is not allowed")]
    Character { allowed: &'static str, found: char },
    /// A character that no text can hold, or a control character or line break in a name.
    #[error("must not contain the control character U+{:04X}", u32::from(*.found))]
    Control { found: char },
    /// A character that readers cannot see, or that changes the direction of the text.
    #[error("must not contain the invisible or direction-changing character U+{:04X} here", u32::from(*.found))]
    Invisible { found: char },
    /// There is nothing to see.
    #[error("must have a visible character")]
    Blank,
    #[error("must be exactly one emoji")]
    NotOneEmoji,
}

/// The characters that look like a space, as members of a character class.
macro_rules! space {
    () => {
        r"\t-\r \u0085\u00A0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u2800\u3000"
    };
}
use space;

/// Control and invisible characters as members of a character class, without those that are allowed at some places.
/// Only of the Basic Multilingual Plane: ECMA-262 and Python have no common notation for others.
macro_rules! invisible {
    () => {
        concat!(
            r"\u0000-\u001F\u007F-\u009F\u00AD\u034F\u061C\u115F\u1160\u17B4\u17B5\u200B\u200E\u200F\u2028-\u202E",
            r"\u2060-\u206F\u3164\uFEFF\uFFA0\uFFF0-\uFFFB"
        )
    };
}
use invisible;

/// The pattern of texts that [`parse::line`] accepts: surrounding white space, which is trimmed, a first
/// character, up to `$between` more, and a last one. It accepts more than the parser, as a pattern cannot express
/// that NFC may change the length and that an invisible character is allowed at some places.
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

/// The pattern of file names. It has no look-ahead, so that it works in ECMA-262, Python and Rust. To exclude `.` and
/// `..`, there is either at most one dot before another character, or two dots and more characters.
macro_rules! file_name {
    (except $bad:literal) => {
        concat!(
            r"^(?:[^.", $bad, "][^", $bad, r"]{0,254}|\.[^.", $bad, "][^", $bad, r"]{0,253}|\.\.[^", $bad,
            "]{1,253})$"
        )
    };
    () => {
        file_name!(except r"/\\\u0000-\u001F\u007F-\u009F\u2028-\u202E\u2066-\u2069")
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
            /// A regular expression that matches all that [`Self::parse`] accepts.
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
    /// A user's name as others see it: 1 to 40 characters of any script, NFC, with a visible one.
    DisplayName, line!(38), "Ada Lovelace"
);
name!(
    /// A room's name in URLs: 1 to 64 letters and digits of any script, `-` and `_`, NFC, unique without regard to
    /// case. Invisible characters only where a script needs them, such as joiners in Persian and Hindi.
    RoomName, r"^[\p{L}\p{M}\p{N}\u180E\u200C\u200D_-]{1,64}$", "lobby"
);
name!(
    /// A room's title: 1 to 120 characters of any script, NFC, with a visible one.
    RoomTitle, line!(118), "The lobby"
);
name!(
    /// A file's name on the uploader's machine: 1 to 255 characters without slashes, backslashes, control and
    /// direction-changing characters, NFC, with a visible character; not `.` or `..`. Other invisible characters are
    /// removed where nothing needs them.
    FileName, file_name!(), "photo.png"
);
name!(
    /// A message's text. Its length limit is separate, as operators can change it.
    MessageText, r"^[^\u0000]*$", "hello"
);
name!(
    /// A reaction: exactly one emoji that Unicode recommends, in its fully-qualified form.
    Emoji, concat!("^[^", space!(), r"\u0000-\u001F\u007F-\u009FA-Za-z]{1,16}$"), "👍"
);
