//! Reads names that the server stored. They may be older than the rules of today, and must stay readable.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, de::Error as _};

use super::{DisplayName, Emoji, RoomTitle};
use crate::limits;

/// A name that is read as it was stored. For `#[serde(deserialize_with)]`.
pub trait Stored: Sized {
    /// The longest name that any version has stored, in characters.
    const MAX_CHARS: usize;

    /// Keeps a stored text, without the checks of a new one.
    fn from_stored(text: &str) -> Self;

    /// Refuses what no version has stored, so that a faulty event becomes a dead letter.
    fn deserialize_stored<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'_, str>::deserialize(deserializer)?;
        if text.contains(char::is_control) || text.chars().count() > Self::MAX_CHARS {
            return Err(D::Error::custom("no version stores this name"));
        }
        Ok(Self::from_stored(&text))
    }
}

impl Stored for DisplayName {
    const MAX_CHARS: usize = *limits::DISPLAY_NAME_CHARS.end();

    fn from_stored(text: &str) -> Self {
        Self(text.into())
    }
}

impl Stored for RoomTitle {
    const MAX_CHARS: usize = *limits::ROOM_TITLE_CHARS.end();

    fn from_stored(text: &str) -> Self {
        Self(text.into())
    }
}

impl Stored for Emoji {
    const MAX_CHARS: usize = 16;

    /// Normalises an emoji. Others are kept: before, a reaction could be any characters but letters.
    fn from_stored(text: &str) -> Self {
        Self::parse(text).unwrap_or_else(|_| Self(text.into()))
    }
}

impl<T: Stored> Stored for Option<T> {
    const MAX_CHARS: usize = T::MAX_CHARS;

    fn from_stored(text: &str) -> Self {
        Some(T::from_stored(text))
    }

    fn deserialize_stored<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name<T>(T);
        impl<'de, T: Stored> Deserialize<'de> for Name<T> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                T::deserialize_stored(deserializer).map(Self)
            }
        }
        Ok(Option::<Name<T>>::deserialize(deserializer)?.map(|Name(name)| name))
    }
}
