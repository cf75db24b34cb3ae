//! Reads names that the server stored. They may be older than the rules of today, and must stay readable.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};

use super::{DisplayName, Emoji, RoomTitle};

/// A name that is read as it was stored. For `#[serde(deserialize_with)]`.
pub trait Stored: Sized {
    /// Keeps a stored text, without the checks of a new one.
    fn from_stored(text: &str) -> Self;

    fn deserialize_stored<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'_, str>::deserialize(deserializer).map(|text| Self::from_stored(&text))
    }

    fn deserialize_optional<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Self>, D::Error> {
        let text = Option::<Cow<'_, str>>::deserialize(deserializer)?;
        Ok(text.map(|text| Self::from_stored(&text)))
    }
}

impl Stored for DisplayName {
    fn from_stored(text: &str) -> Self {
        Self(text.into())
    }
}

impl Stored for RoomTitle {
    fn from_stored(text: &str) -> Self {
        Self(text.into())
    }
}

impl Stored for Emoji {
    /// Normalises an emoji. Others are kept: before, a reaction could be any characters but letters.
    fn from_stored(text: &str) -> Self {
        Self::parse(text).unwrap_or_else(|_| Self(text.into()))
    }
}
