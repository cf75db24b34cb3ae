//! The text of a message.

use utoipa::openapi::{ObjectBuilder, Schema, schema::Type};

use super::{MessageText, ParseNameError, visibility};
use crate::limits;

impl MessageText {
    /// A regular expression that matches every text that is not [blank](Self::is_blank).
    pub const SEEN_PATTERN: &str = concat!(
        r"^[^\u0000]*[^",
        super::space!(),
        super::invisible!(),
        r"\u180B-\u180F\u200C\u200D\uFE00-\uFE0F][^\u0000]*$"
    );

    /// The OpenAPI schema of a text with the default length limit.
    pub fn sent_schema() -> Schema {
        Self::limited_schema(Self::PATTERN)
    }

    /// The same for a text that must not be blank.
    pub fn seen_schema() -> Schema {
        Self::limited_schema(Self::SEEN_PATTERN)
    }

    fn limited_schema(pattern: &str) -> Schema {
        let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern));
        text.max_length(Some(limits::MESSAGE_CHARS)).into()
    }

    /// Any text without NUL, which PostgreSQL cannot store.
    pub fn parse(text: &str) -> Result<Self, ParseNameError> {
        if text.contains('\0') {
            return Err(ParseNameError::Control { found: '\0' });
        }
        Ok(Self(text.into()))
    }

    /// The length in characters, which the limit counts.
    pub fn chars(&self) -> usize {
        self.0.chars().count()
    }

    /// Whether readers see nothing: only white space, control and invisible characters.
    pub fn is_blank(&self) -> bool {
        visibility::is_blank(&self.0)
    }
}
