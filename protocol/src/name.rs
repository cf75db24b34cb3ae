//! Names and texts from outside, parsed into types that cannot be wrong.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use crate::limits;

/// Why a text is not the name it should be. The message is for the person who typed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseNameError {
    /// Too short or too long, in characters.
    #[error("must have {min} to {max} characters, has {got}")]
    Length { min: usize, max: usize, got: usize },
    /// A character that this kind of name cannot hold.
    #[error("must consist of {allowed}; {found:?} is not allowed")]
    Character { allowed: &'static str, found: char },
    /// Control or bidirectional override characters, which make one text look like another.
    #[error("must not contain control or direction-changing characters")]
    Invisible,
}

/// Characters that a reader cannot see but that change what is seen: C0/C1 controls, bidirectional
/// marks, embeddings and isolates (UAX #9), and the byte order mark.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{200B}' | '\u{2060}'..='\u{2064}' | '\u{FEFF}')
}

fn check_length(text: &str, range: &std::ops::RangeInclusive<usize>) -> Result<(), ParseNameError> {
    let got = text.chars().count();
    if range.contains(&got) {
        return Ok(());
    }
    Err(ParseNameError::Length { min: *range.start(), max: *range.end(), got })
}

fn check_characters(
    text: &str,
    allowed: &'static str,
    is_allowed: impl Fn(char) -> bool,
) -> Result<(), ParseNameError> {
    match text.chars().find(|&c| !is_allowed(c)) {
        Some(found) => Err(ParseNameError::Character { allowed, found }),
        None => Ok(()),
    }
}

/// A line of text in any script: trimmed, NFC, nothing invisible.
fn parse_line(
    text: &str,
    range: &std::ops::RangeInclusive<usize>,
) -> Result<String, ParseNameError> {
    let line: String = text.trim().nfc().collect();
    if line.chars().any(is_invisible) {
        return Err(ParseNameError::Invisible);
    }
    check_length(&line, range)?;
    Ok(line)
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $schema:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
        #[serde(try_from = "Cow<'_, str>")]
        #[schema(value_type = String, example = $schema)]
        pub struct $name(Box<str>);

        impl $name {
            /// The name as text.
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
    UserName, "ada"
);
name!(
    /// What others see of a user: 1 to 40 characters of any script, NFC.
    DisplayName, "Ada Lovelace"
);
name!(
    /// A room's name in URLs: 1 to 64 letters and digits of any script, `-` and `_`, NFC.
    RoomName, "lobby"
);
name!(
    /// A room's title: 1 to 120 characters of any script, NFC.
    RoomTitle, "The lobby"
);
name!(
    /// A message's text. Its length is the gateway's limit to check, as operators can change it.
    MessageText, "hello"
);
name!(
    /// A reaction: one emoji, at most 16 characters.
    Emoji, "👍"
);

impl UserName {
    /// Folds ASCII case, then checks.
    pub fn parse(text: &str) -> Result<Self, ParseNameError> {
        let name = text.to_ascii_lowercase();
        check_characters(&name, "a-z, 0-9, '.', '_' and '-'", |c| {
            c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-')
        })?;
        check_length(&name, &limits::USER_NAME_CHARS)?;
        Ok(Self(name.into()))
    }
}

impl DisplayName {
    /// Trims, normalises to NFC, then checks.
    pub fn parse(text: &str) -> Result<Self, ParseNameError> {
        parse_line(text, &limits::DISPLAY_NAME_CHARS).map(|line| Self(line.into()))
    }
}

impl RoomTitle {
    /// Trims, normalises to NFC, then checks.
    pub fn parse(text: &str) -> Result<Self, ParseNameError> {
        parse_line(text, &limits::ROOM_TITLE_CHARS).map(|line| Self(line.into()))
    }
}

impl RoomName {
    /// Normalises to NFC, then checks.
    pub fn parse(text: &str) -> Result<Self, ParseNameError> {
        let name: String = text.nfc().collect();
        check_characters(&name, "letters and digits of any script, '-' and '_'", |c| {
            c.is_alphanumeric()
                || matches!(c, '-' | '_')
                || unicode_normalization::char::is_combining_mark(c)
        })?;
        check_length(&name, &limits::ROOM_NAME_CHARS)?;
        Ok(Self(name.into()))
    }
}

impl MessageText {
    /// Any text but one with NUL, which PostgreSQL cannot store.
    pub fn parse(text: &str) -> Result<Self, ParseNameError> {
        if text.contains('\0') {
            return Err(ParseNameError::Invisible);
        }
        Ok(Self(text.into()))
    }

    /// Its length as the limit counts it.
    pub fn chars(&self) -> usize {
        self.0.chars().count()
    }

    /// Nothing but white space.
    pub fn is_blank(&self) -> bool {
        self.0.trim().is_empty()
    }
}

impl Emoji {
    /// No ASCII letters, white space or controls, 1 to 16 characters.
    pub fn parse(text: &str) -> Result<Self, ParseNameError> {
        check_characters(text, "one emoji", |c| {
            !c.is_control() && !c.is_whitespace() && !c.is_ascii_alphabetic()
        })?;
        check_length(text, &limits::EMOJI_CHARS)?;
        Ok(Self(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_fold_normalise_and_refuse() {
        assert_eq!(UserName::parse("Ada.L").unwrap().as_str(), "ada.l");
        assert!(UserName::parse("ad").is_err());
        assert!(UserName::parse("ädä").is_err());
        assert_eq!(RoomName::parse("한글").unwrap().as_str(), "한글");
        for bad in ["", "a b", "a.b", "a*", "a>", "a/b", "<b>", &"x".repeat(65)] {
            assert!(RoomName::parse(bad).is_err(), "{bad:?}");
        }
        assert!(DisplayName::parse("  ").is_err());
        assert_eq!(DisplayName::parse("a\u{202E}b"), Err(ParseNameError::Invisible));
        assert!(MessageText::parse("a\0").is_err());
        assert!(Emoji::parse("👩‍👩‍👧").is_ok());
        assert!(Emoji::parse("x").is_err());
    }

    proptest! {
        #[test]
        fn parsing_a_parsed_name_changes_nothing(text in "\\PC{0,70}") {
            if let Ok(name) = RoomName::parse(&text) {
                prop_assert_eq!(RoomName::parse(name.as_str()).unwrap(), name);
            }
            if let Ok(name) = DisplayName::parse(&text) {
                prop_assert_eq!(DisplayName::parse(name.as_str()).unwrap(), name);
            }
            if let Ok(name) = UserName::parse(&text) {
                prop_assert_eq!(UserName::parse(name.as_str()).unwrap(), name);
            }
        }
    }
}
