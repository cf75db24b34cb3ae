//! The parsers of all names.

use std::ops::RangeInclusive;

use unicode_normalization::UnicodeNormalization as _;

use super::{DisplayName, Emoji, ParseNameError, RoomName, RoomTitle, UserName};
use crate::limits;

/// Whether a character is invisible but changes how others look: C0/C1 controls, bidirectional
/// marks, embeddings and isolates (UAX #9), and the byte order mark.
pub(super) fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{061C}'
                | '\u{200E}'
                | '\u{200F}'
                | '\u{202A}'..='\u{202E}'
                | '\u{2066}'..='\u{2069}'
                | '\u{200B}'
                | '\u{2060}'..='\u{2064}'
                | '\u{FEFF}'
        )
}

/// Whether a character is a letter in a circle or a square. Unicode counts it as alphabetic (Other_Alphabetic),
/// but it is a symbol.
fn is_enclosed(c: char) -> bool {
    matches!(
        c,
        '\u{24B6}'..='\u{24E9}'
            | '\u{1F130}'..='\u{1F149}'
            | '\u{1F150}'..='\u{1F169}'
            | '\u{1F170}'..='\u{1F189}'
    )
}

fn check_length(text: &str, range: &RangeInclusive<usize>) -> Result<(), ParseNameError> {
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

/// Parses a line of text in any script: trims it, normalises it to NFC and refuses invisible characters.
fn line(text: &str, range: &RangeInclusive<usize>) -> Result<String, ParseNameError> {
    let line: String = text.trim().nfc().collect();
    if line.chars().any(is_invisible) {
        return Err(ParseNameError::Invisible);
    }
    check_length(&line, range)?;
    Ok(line)
}

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
        line(text, &limits::DISPLAY_NAME_CHARS).map(|name| Self(name.into()))
    }
}

impl RoomTitle {
    /// Trims, normalises to NFC, then checks.
    pub fn parse(text: &str) -> Result<Self, ParseNameError> {
        line(text, &limits::ROOM_TITLE_CHARS).map(|name| Self(name.into()))
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
