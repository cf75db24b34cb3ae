//! What kind of file something is: as declared, as found, and what a browser may do with it.

use std::borrow::Cow;

use serde::Deserialize;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, schema::Type};

/// Characters on each side of a media type's slash (RFC 6838, section 4.2).
const MEDIA_TYPE_CHARS: usize = 127;
/// Characters of a file name; the usual limit of file systems.
const FILE_NAME_CHARS: usize = 255;

/// A media type `type/subtype` in lower case (RFC 6838), with parameters left out.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "Cow<'_, str>")]
#[schema(value_type = String, example = "image/png",
    pattern = r"^[ \t]*[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}[ \t]*(?:;[\s\S]*)?$")]
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

/// Whether content of which `first` is the beginning may be of the declared type. What cannot be told
/// from content (text, unknown formats) may be anything that does not run in a browser's hands.
pub fn content_fits(declared: &str, first: &[u8]) -> Result<(), String> {
    let Some(found) = infer::get(first).map(|kind| kind.mime_type()) else {
        return if is_recognised(declared) {
            Err(format!("declared as {declared}, but its content is not"))
        } else {
            Ok(())
        };
    };
    // Office documents are zip archives, and so on: what is found may be the container.
    let is_container = matches!(
        found,
        "application/zip"
            | "application/gzip"
            | "application/x-ole-storage"
            | "text/xml"
            | "video/webm"
            | "video/mp4"
    ) && (!is_recognised(declared)
        || declared.starts_with("audio/")
        || declared.starts_with("video/"));
    // Markup and scripts are text; that a browser must not run them is the download's concern.
    let is_text = found.starts_with("text/") && is_textual(declared);
    if found == declared
        || is_container
        || is_text
        || declared == "application/octet-stream"
        || is_alias(declared, found)
    {
        return Ok(());
    }
    Err(format!("declared as {declared}, but its content is {found}"))
}

/// Types whose content always tells what it is.
fn is_recognised(media_type: &str) -> bool {
    matches!(
        media_type,
        "image/png"
            | "image/jpeg"
            | "image/gif"
            | "image/webp"
            | "application/pdf"
            | "application/zip"
    )
}

/// Types that people write: nearly any text may begin like markup or a script.
fn is_textual(media_type: &str) -> bool {
    let is_application = media_type.starts_with("application/");
    let ends = |ends: &[&str]| ends.iter().any(|end| media_type.ends_with(end));
    media_type.starts_with("text/")
        || ends(&["+xml", "+json"])
        || is_application && ends(&["json", "xml", "script", "-sh", "yaml", "toml"])
}

fn is_alias(declared: &str, found: &str) -> bool {
    let canonical = |media_type| match media_type {
        "image/jpg" | "image/pjpeg" => "image/jpeg",
        "audio/mp3" => "audio/mpeg",
        "audio/wav" | "audio/wave" => "audio/x-wav",
        "audio/mp4" | "audio/x-m4a" => "audio/m4a",
        "audio/flac" => "audio/x-flac",
        "audio/opus" | "video/ogg" | "application/ogg" => "audio/ogg",
        "image/heic" | "image/heic-sequence" | "image/heif-sequence" => "image/heif",
        "image/x-icon" => "image/vnd.microsoft.icon",
        "font/woff" | "font/woff2" => "application/font-woff",
        "font/ttf" | "font/otf" => "application/font-sfnt",
        "application/x-rar-compressed" => "application/vnd.rar",
        "application/x-zip-compressed" => "application/zip",
        "application/x-gzip" => "application/gzip",
        other => other,
    };
    canonical(declared) == canonical(found)
}

/// Types that a browser shows without running anything in them.
pub fn is_safe_inline(media_type: &str) -> bool {
    matches!(
        media_type,
        "image/png"
            | "image/jpeg"
            | "image/gif"
            | "image/webp"
            | "image/avif"
            | "audio/mpeg"
            | "audio/ogg"
            | "audio/wav"
            | "audio/x-wav"
            | "audio/m4a"
            | "audio/mp4"
            | "audio/webm"
            | "video/mp4"
            | "video/webm"
            | "video/ogg"
    )
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

    #[test]
    fn content_is_held_against_what_was_declared() {
        let png = b"\x89PNG\r\n\x1a\n0000";
        assert!(content_fits("image/png", png).is_ok());
        assert!(content_fits("application/octet-stream", png).is_ok());
        assert!(content_fits("image/jpeg", png).is_err());
        assert!(content_fits("text/plain", png).is_err());
        assert!(content_fits("image/png", b"hello").is_err());
        assert!(content_fits("text/plain", b"hello").is_ok());
        assert!(content_fits("text/plain", b"").is_ok());
        assert!(content_fits("text/markdown", b"<!-- title --> hello").is_ok());
        assert!(content_fits("image/svg+xml", b"<?xml version=\"1.0\"?><svg/>").is_ok());
        assert!(content_fits("image/bmp", b"<html><body></body></html>").is_err());
        assert!(content_fits("audio/flac", b"fLaC\0\0\0\x22").is_ok());
        assert!(content_fits("audio/ogg", b"OggS\0\x02").is_ok());
        let zip = b"PK\x03\x04aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        let docx = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
        assert!(content_fits(docx, zip).is_ok());
        assert!(content_fits("image/png", zip).is_err());
    }

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

    /// Texts that fit a pattern (proptest knows no anchors) and texts that are near it.
    fn around(pattern: &str) -> impl Strategy<Value = String> {
        let inner = pattern.strip_prefix('^').unwrap().strip_suffix('$').unwrap();
        let fitting = proptest::string::string_regex(inner).unwrap().boxed();
        let changed = (fitting.clone(), any::<char>(), any::<prop::sample::Index>());
        let changed = changed.prop_map(|(text, c, at)| {
            let mut chars: Vec<char> = text.chars().collect();
            chars.insert(at.index(chars.len() + 1), c);
            chars.into_iter().collect()
        });
        prop_oneof![fitting, changed, "[./\\\\a]{0,4}", "\\PC{0,300}"]
    }

    fn agree<T>(pattern: &str, parse: impl Fn(&str) -> Option<T>, examples: &[&str]) {
        let matcher = regex::Regex::new(pattern).unwrap();
        let check = |text: &str| {
            assert_eq!(parse(text).is_some(), matcher.is_match(text), "{text:?} {pattern}");
        };
        examples.iter().for_each(|text| check(text));
        let mut runner = proptest::test_runner::TestRunner::default();
        let run = runner.run(&around(pattern), |text| {
            check(&text);
            Ok(())
        });
        run.unwrap();
    }

    fn pattern_of<T: utoipa::PartialSchema>() -> String {
        serde_json::json!(T::schema())["pattern"].as_str().unwrap().to_owned()
    }

    #[test]
    fn patterns_say_what_their_parsers_take() {
        let long = "x".repeat(255);
        let names = [".", "..", "...", ".a", "..a", "a/b", "", &long, &format!("{long}x")];
        let file_name = |text: &str| FileName::try_from(Cow::Borrowed(text)).ok();
        agree(&pattern_of::<FileName>(), file_name, &names);
        let long = format!("{}/{}", "x".repeat(127), "y".repeat(127));
        let types = [" image/PNG ;x", "image/", "image/png\n", ";a/b", &long, &format!("{long}y")];
        let media_type = |text: &str| MediaType::try_from(Cow::Borrowed(text)).ok();
        agree(&pattern_of::<MediaType>(), media_type, &types);
    }

    proptest! {
        #[test]
        fn a_disposition_is_always_one_clean_header(name in "\\PC{1,60}") {
            let header = disposition(true, &name);
            prop_assert!(header.bytes().all(|b| (0x20..0x7F).contains(&b)));
            prop_assert_eq!(header.matches('"').count(), 2);
        }

        #[test]
        fn a_media_type_is_a_header_value(text in "\\PC{0,30}") {
            if let Ok(parsed) = MediaType::try_from(Cow::Borrowed(text.as_str())) {
                prop_assert!(parsed.as_str().bytes().all(|b| b.is_ascii_graphic()));
            }
        }
    }
}
