//! Names and texts from outside, parsed into types that cannot be wrong.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, schema::Type};

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

/// Letters in a circle or a square: alphabetic to Unicode (Other_Alphabetic), but symbols, not letters.
fn is_enclosed(c: char) -> bool {
    matches!(c, '\u{24B6}'..='\u{24E9}' | '\u{1F130}'..='\u{1F149}' | '\u{1F150}'..='\u{1F169}' | '\u{1F170}'..='\u{1F189}')
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

/// What [`str::trim`] takes away (Unicode's White_Space), as members of a class in a pattern.
macro_rules! space {
    () => {
        r"\t-\r \u0085\u00A0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000"
    };
}

/// What [`is_invisible`] finds, as members of a class in a pattern.
macro_rules! invisible {
    () => {
        r"\u0000-\u001F\u007F-\u009F\u061C\u200B\u200E\u200F\u202A-\u202E\u2060-\u2064\u2066-\u2069\uFEFF"
    };
}

/// The pattern of what [`parse_line`] takes: between white space, which it trims, a first character,
/// up to `$between` and a last one. How NFC changes the length no pattern can say.
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

// The patterns are for the documents, and are read by ECMA-262, Python and Rust alike.
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
            /// A regular expression for what [`Self::parse`] takes.
            pub const PATTERN: &str = $pattern;

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
    UserName, "^[A-Za-z0-9._-]{3,32}$", "ada"
);
name!(
    /// What others see of a user: 1 to 40 characters of any script, NFC.
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
    /// A message's text. Its length is the gateway's limit to check, as operators can change it.
    MessageText, r"^[^\u0000]*$", "hello"
);
name!(
    /// A reaction: one emoji, at most 16 characters.
    Emoji, concat!("^[^", space!(), r"\u0000-\u001F\u007F-\u009FA-Za-z]{1,16}$"), "👍"
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
            (c.is_alphanumeric() && !is_enclosed(c))
                || matches!(c, '-' | '_')
                || unicode_normalization::char::is_combining_mark(c)
        })?;
        check_length(&name, &limits::ROOM_NAME_CHARS)?;
        Ok(Self(name.into()))
    }
}

impl MessageText {
    /// A regular expression for a text that is not [blank](Self::is_blank).
    pub const SEEN_PATTERN: &str = concat!(r"^[^\u0000]*[^\u0000", space!(), r"][^\u0000]*$");

    /// The schema of a text that is sent by HTTP, where the limit is fixed.
    pub fn sent_schema() -> Schema {
        Self::up_to_the_limit(Self::PATTERN)
    }

    /// The same where it may not be blank.
    pub fn seen_schema() -> Schema {
        Self::up_to_the_limit(Self::SEEN_PATTERN)
    }

    fn up_to_the_limit(pattern: &str) -> Schema {
        let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern));
        text.max_length(Some(limits::MESSAGE_CHARS)).into()
    }

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

    /// A text that fits a pattern. proptest knows no anchors.
    fn fitting(pattern: &str) -> impl Strategy<Value = String> {
        let inner = pattern.strip_prefix('^').unwrap().strip_suffix('$').unwrap();
        proptest::string::string_regex(inner).unwrap()
    }

    /// Holds a type's pattern against its parser in both directions. Texts that are not in NFC may
    /// change their length; they are asked about as they are afterwards.
    fn agree<T>(
        pattern: &str,
        parse: impl Fn(&str) -> Result<T, ParseNameError>,
        examples: &[&str],
    ) {
        let matcher = regex::Regex::new(pattern).unwrap();
        // Rust and regex need not be of one version of Unicode: what one of them has no category for
        // yet, they cannot agree on.
        let unassigned = regex::Regex::new(r"\p{Cn}").unwrap();
        let check = |text: &str| {
            let text: String =
                text.nfc().filter(|c| !unassigned.is_match(&c.to_string())).collect();
            assert_eq!(parse(&text).is_ok(), matcher.is_match(&text), "{text:?} {pattern}");
        };
        examples.iter().for_each(|text| check(text));
        let any = prop_oneof![
            fitting(pattern),
            "[ -~]{0,70}",
            "\\PC{0,45}",
            // One character of any kind where it could matter.
            (any::<char>(), "[ a]{0,3}").prop_map(|(c, text)| format!("{c}{text}")),
            (any::<char>(), "[ a]{0,3}").prop_map(|(c, text)| format!("a{text}{c}a{text}")),
        ];
        let mut runner = proptest::test_runner::TestRunner::default();
        runner
            .run(&any, |text| {
                check(&text);
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn every_pattern_says_what_its_parser_takes() {
        let long = |count: usize| "é".repeat(count);
        let (ok, bad) = (long(40), long(41));
        agree(DisplayName::PATTERN, DisplayName::parse, &["", " ", " a\t", "a\u{FEFF}", &ok, &bad]);
        let (ok, bad) = (long(120), long(121));
        agree(RoomTitle::PATTERN, RoomTitle::parse, &["\n a b\u{3000}", "a\u{85}b", &ok, &bad]);
        let (ok, bad) = (long(64), long(65));
        agree(
            RoomName::PATTERN,
            RoomName::parse,
            &["한글", "Ⓐ", "🅰", "a\u{301}", "a.b", &ok, &bad],
        );
        agree(UserName::PATTERN, UserName::parse, &["Ada", "ad", "ada\n", "K\u{212A}elvin"]);
        agree(MessageText::PATTERN, MessageText::parse, &["", "\0", "a\nb"]);
        let seen =
            |text: &str| MessageText::parse(text).map(|text| (!text.is_blank()).then_some(()));
        let seen = |text: &str| seen(text)?.ok_or(ParseNameError::Invisible);
        agree(
            MessageText::SEEN_PATTERN,
            seen,
            &["", " ", "\u{3000}a", "a\0", "\u{1F}", "\u{FEFF}"],
        );
        agree(Emoji::PATTERN, Emoji::parse, &["👩‍👩‍👧", "x", "", "1", "\u{3000}"]);
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
