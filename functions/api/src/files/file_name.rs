//! File names: the parsed name of a declaration, and the `Content-Disposition` header of a download.

use std::borrow::Cow;

use serde::Deserialize;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, schema::Type};

/// Maximum characters of a file name: the usual limit of file systems.
const FILE_NAME_CHARS: usize = 255;

/// Characters that change the direction of the text after them (UAX #9). With one, `photo<RLO>gpj.exe` is displayed as
/// `photoexe.jpg`, which hides the extension.
fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// A file's name on the uploader's machine: 1 to 255 characters without slashes, backslashes, control characters and
/// bidirectional controls.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Cow<'_, str>")]
pub struct FileName(String);

impl utoipa::ToSchema for FileName {}

impl utoipa::PartialSchema for FileName {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some(
                "1 to 255 characters without slashes, backslashes, control characters and \
                bidirectional controls; not `.` or `..`",
            ))
            .pattern(Some(Self::pattern()))
            .examples(["photo.png"])
            .into()
    }
}

impl TryFrom<Cow<'_, str>> for FileName {
    type Error = &'static str;
    fn try_from(text: Cow<'_, str>) -> Result<Self, &'static str> {
        let is_valid = (1..=FILE_NAME_CHARS).contains(&text.chars().count())
            && !text
                .chars()
                .any(|c| c.is_control() || is_bidi_control(c) || matches!(c, '/' | '\\'))
            && !matches!(&*text, "." | "..");
        is_valid
            .then(|| Self(text.into_owned()))
            .ok_or("must be a file name of 1 to 255 characters")
    }
}

impl FileName {
    /// A pattern for exactly the names that the parser accepts. It has no look-ahead, so that it works in ECMA-262,
    /// Python and Rust.
    fn pattern() -> String {
        let bad = r"/\\\u0000-\u001F\u007F-\u009F\u202A-\u202E\u2066-\u2069";
        let max = FILE_NAME_CHARS - 1;
        // Excludes `.` and `..`: either at most one dot before another character, or two dots and more characters.
        format!(
            r"^(?:[^.{bad}][^{bad}]{{0,{max}}}|\.[^.{bad}][^{bad}]{{0,{}}}|\.\.[^{bad}]{{1,{}}})$",
            max - 1,
            max - 1,
        )
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The value of `Content-Disposition` for a name in any script: an ASCII fallback and the encoded name (RFC 6266,
/// RFC 8187).
pub fn content_disposition(inline: bool, name: &str) -> String {
    let kind = if inline { "inline" } else { "attachment" };
    let fallback: String = name
        .chars()
        .map(|c| if c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%') { c } else { '_' })
        .collect();
    let mut encoded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    format!("{kind}; filename=\"{fallback}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::files::schema_tests::{assert_same_language, pattern_of};

    #[test]
    fn misleading_names_are_refused() {
        let parse = |name| FileName::try_from(Cow::Borrowed(name));
        assert!(parse("보고서 1.pdf").is_ok());
        for bad in ["", "..", "a/b", "a\\b", "a\nb", "photo\u{202E}gpj.exe"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn content_disposition_encodes_any_script_and_escapes_quotes() {
        assert_eq!(
            content_disposition(false, "보고서 \"1\".pdf"),
            "attachment; filename=\"_____1_.pdf\"; filename*=UTF-8''%EB%B3%B4%EA%B3%A0%EC%84%9C%20%221%22.pdf"
        );
    }

    #[test]
    fn pattern_and_parser_accept_the_same_names() {
        let long = "x".repeat(255);
        let names = [".", "..", "...", ".a", "..a", "a/b", "", &long, &format!("{long}x")];
        let file_name = |text: &str| FileName::try_from(Cow::Borrowed(text)).ok();
        assert_same_language(&pattern_of::<FileName>(), file_name, &names);
    }

    proptest! {
        #[test]
        fn content_disposition_is_a_valid_header_value(name in "\\PC{1,60}") {
            let header = content_disposition(true, &name);
            prop_assert!(header.bytes().all(|b| (0x20..0x7F).contains(&b)));
            prop_assert_eq!(header.matches('"').count(), 2);
        }
    }
}
