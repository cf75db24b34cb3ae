//! Media types of files.

use std::borrow::Cow;

use serde::Deserialize;

/// Maximum characters of type and of subtype (RFC 6838, section 4.2).
const MEDIA_TYPE_CHARS: usize = 127;

// Not `mime::Mime`, which accepts any HTTP token of any length: the parser must accept exactly what the schema says.
/// A media type `type/subtype` in lower case (RFC 6838), without parameters.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "Cow<'_, str>")]
#[schema(value_type = String, example = "image/png", pattern =
    "^[ \\t]*[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/\
     [A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}[ \\t]*(?:;[\\s\\S]*)?$")]
pub struct MediaType(String);

impl TryFrom<Cow<'_, str>> for MediaType {
    type Error = &'static str;
    fn try_from(text: Cow<'_, str>) -> Result<Self, &'static str> {
        let essence = text.split(';').next().unwrap_or_default();
        let essence = essence.trim_matches([' ', '\t']).to_ascii_lowercase();
        let is_token = |part: &str| {
            part.len() <= MEDIA_TYPE_CHARS
                && part.starts_with(|first: char| first.is_ascii_alphanumeric())
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b))
        };
        match essence.split_once('/') {
            Some((kind, subtype)) if is_token(kind) && is_token(subtype) => Ok(Self(essence)),
            _ => Err("must be a media type such as image/png"),
        }
    }
}

impl MediaType {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::files::schema_tests::{assert_same_language, pattern_of};

    #[test]
    fn pattern_and_parser_accept_the_same_types() {
        let long = format!("{}/{}", "x".repeat(127), "y".repeat(127));
        let types = [" image/PNG ;x", "image/", "image/png\n", ";a/b", &long, &format!("{long}y")];
        let media_type = |text: &str| MediaType::try_from(Cow::Borrowed(text)).ok();
        assert_same_language(&pattern_of::<MediaType>(), media_type, &types);
    }

    proptest! {
        #[test]
        fn a_media_type_is_a_header_value(text in "\\PC{0,30}") {
            if let Ok(parsed) = MediaType::try_from(Cow::Borrowed(text.as_str())) {
                prop_assert!(parsed.as_str().bytes().all(|b| b.is_ascii_graphic()));
            }
        }
    }
}
