//! File names: as declared, and in the header of a download.

use std::borrow::Cow;

use serde::Deserialize;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, schema::Type};

/// Characters of a file name; the usual limit of file systems.
const FILE_NAME_CHARS: usize = 255;

/// Characters that change the direction of what follows (UAX #9): `gpj.exe` could be shown backwards.
fn turns(c: char) -> bool {
    matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// A file's name as its owner knows it: 1 to 255 characters, none of them a slash, a control or one
/// that turns the direction of reading.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Cow<'_, str>")]
pub struct FileName(String);

impl utoipa::ToSchema for FileName {}

impl utoipa::PartialSchema for FileName {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some(
                "1 to 255 characters, none of them a slash, a control or one that turns the \
                direction of reading; not `.` or `..`",
            ))
            .pattern(Some(Self::pattern()))
            .examples(["photo.png"])
            .into()
    }
}

impl TryFrom<Cow<'_, str>> for FileName {
    type Error = &'static str;
    fn try_from(text: Cow<'_, str>) -> Result<Self, &'static str> {
        let is_fit = (1..=FILE_NAME_CHARS).contains(&text.chars().count())
            && !text.chars().any(|c| c.is_control() || turns(c) || matches!(c, '/' | '\\'))
            && !matches!(&*text, "." | "..");
        is_fit.then(|| Self(text.into_owned())).ok_or("must be a file name of 1 to 255 characters")
    }
}

impl FileName {
    /// What the parser takes, for ECMA-262, Python and Rust alike: none of them needs to look ahead.
    fn pattern() -> String {
        let not = r"/\\\u0000-\u001F\u007F-\u009F\u202A-\u202E\u2066-\u2069";
        let max = FILE_NAME_CHARS - 1;
        // Something that is no dot, after none, one or two of them; or more after two.
        format!(
            r"^(?:[^.{not}][^{not}]{{0,{max}}}|\.[^.{not}][^{not}]{{0,{}}}|\.\.[^{not}]{{1,{}}})$",
            max - 1,
            max - 1,
        )
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `Content-Disposition` with a name of any script (RFC 6266, RFC 8187).
pub fn disposition(inline: bool, name: &str) -> String {
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
    use crate::files::schema_tests::{agree, pattern_of};

    #[test]
    fn names_that_could_deceive_are_refused() {
        let parse = |name| FileName::try_from(Cow::Borrowed(name));
        assert!(parse("보고서 1.pdf").is_ok());
        for bad in ["", "..", "a/b", "a\\b", "a\nb", "photo\u{202E}gpj.exe"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_of_any_script_survive_and_nothing_breaks_out_of_the_header() {
        assert_eq!(
            disposition(false, "보고서 \"1\".pdf"),
            "attachment; filename=\"_____1_.pdf\"; filename*=UTF-8''%EB%B3%B4%EA%B3%A0%EC%84%9C%20%221%22.pdf"
        );
    }

    #[test]
    fn the_pattern_says_what_the_parser_takes() {
        let long = "x".repeat(255);
        let names = [".", "..", "...", ".a", "..a", "a/b", "", &long, &format!("{long}x")];
        let file_name = |text: &str| FileName::try_from(Cow::Borrowed(text)).ok();
        agree(&pattern_of::<FileName>(), file_name, &names);
    }

    proptest! {
        #[test]
        fn a_disposition_is_always_one_clean_header(name in "\\PC{1,60}") {
            let header = disposition(true, &name);
            prop_assert!(header.bytes().all(|b| (0x20..0x7F).contains(&b)));
            prop_assert_eq!(header.matches('"').count(), 2);
        }
    }
}
