//! The parsers of all names.

use std::ops::RangeInclusive;

use unicode_normalization::UnicodeNormalization as _;

use super::{
    DisplayName, Emoji, FileName, ParseNameError, RoomName, RoomTitle, UserName,
    visibility::{
        fully_qualified, is_blank, is_control, is_direction_change, is_invisible, is_space,
        is_word, misplaced, without_misplaced,
    },
};
use crate::{fold::fold, limits};

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

/// Refuses control characters, and invisible ones where nothing needs them.
fn check_visibility(text: &str) -> Result<(), ParseNameError> {
    if let Some(found) = text.chars().find(|c| is_control(*c)) {
        return Err(ParseNameError::Control { found });
    }
    match misplaced(text) {
        Some(found) => Err(ParseNameError::Invisible { found }),
        None => Ok(()),
    }
}

/// Parses a line of text in any script: trims it, normalises it to NFC and refuses invisible characters.
fn line(text: &str, range: &RangeInclusive<usize>) -> Result<String, ParseNameError> {
    let line: String = text.trim_matches(is_space).nfc().collect();
    // First, because it costs least: a text may be as long as a frame.
    check_length(&line, range)?;
    check_visibility(&line)?;
    if is_blank(&line) {
        return Err(ParseNameError::Blank);
    }
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
        check_length(&name, &limits::ROOM_NAME_CHARS)?;
        check_visibility(&name)?;
        check_characters(&name, "letters and digits of any script, '-' and '_'", |c| {
            is_word(c) || matches!(c, '-' | '_') || is_invisible(c)
        })?;
        Ok(Self(name.into()))
    }

    /// A valid name for a room of an older version: without what is refused today.
    pub fn cleaned(text: &str) -> Self {
        Self::parse(text).unwrap_or_else(|_| {
            let name = text.nfc().filter(|c| is_word(*c) || matches!(c, '-' | '_'));
            let name: String = name.take(*limits::ROOM_NAME_CHARS.end()).collect();
            Self::parse(&name).unwrap_or_else(|_| Self("room".into()))
        })
    }

    /// The name with a number after it, cut to the maximum length.
    pub fn with_suffix(&self, number: u64) -> Self {
        let suffix = format!("-{number}");
        let kept = limits::ROOM_NAME_CHARS.end().saturating_sub(suffix.len());
        let base: String = self.0.chars().take(kept).collect();
        Self::cleaned(&(base + &suffix))
    }

    /// The key by which rooms are unique and found: names that differ only in case, width or joiners have one key.
    pub fn key(&self) -> String {
        fold(&self.0)
    }
}

impl FileName {
    /// Normalises to NFC and removes invisible characters, then checks. Programs put such characters into names without
    /// their user, so a refusal would not be understood.
    pub fn parse(text: &str) -> Result<Self, ParseNameError> {
        if let Some(found) = text.chars().find(|c| is_control(*c)) {
            return Err(ParseNameError::Control { found });
        }
        if let Some(found) = text.chars().find(|c| is_direction_change(*c)) {
            return Err(ParseNameError::Invisible { found });
        }
        // With room for what is removed. In more, finding it would be slow.
        if text.chars().count() > 4 * limits::FILE_NAME_CHARS.end() {
            check_length(text, &limits::FILE_NAME_CHARS)?;
        }
        let name: String = text.nfc().collect();
        let name: String = without_misplaced(&name).nfc().collect();
        check_characters(&name, "characters other than '/' and '\\'", |c| {
            !matches!(c, '/' | '\\')
        })?;
        check_length(&name, &limits::FILE_NAME_CHARS)?;
        if is_blank(&name) || matches!(&*name, "." | "..") {
            return Err(ParseNameError::Blank);
        }
        Ok(Self(name.into()))
    }
}

impl Emoji {
    /// Exactly one emoji of the set recommended for general interchange (RGI, UTS #51). Presentation selectors may be
    /// missing or superfluous; the fully-qualified form is kept.
    pub fn parse(text: &str) -> Result<Self, ParseNameError> {
        let emoji = fully_qualified(text);
        // The crate's answer for other than fully-qualified forms may be an emoji of another skin tone.
        let is_known = emojis::get(&emoji).is_some_and(|known| known.as_str() == emoji);
        if is_known && misplaced(text).is_none() {
            return Ok(Self(emoji.into()));
        }
        Err(ParseNameError::NotOneEmoji)
    }
}
