use proptest::prelude::*;
use unicode_normalization::UnicodeNormalization as _;

use super::{visibility::is_invisible, *};

/// A text that matches a pattern. proptest does not support anchors.
fn fitting(pattern: &str) -> impl Strategy<Value = String> {
    let inner = pattern.strip_prefix('^').unwrap().strip_suffix('$').unwrap();
    proptest::string::string_regex(inner).unwrap()
}

/// Checks that a type's pattern matches what its parser accepts, and that the parser refuses nothing else but
/// `exceptions`, which a pattern cannot express. Texts are compared in NFC, as parsing may change their length.
fn agree<T>(
    pattern: &str,
    parse: impl Fn(&str) -> Result<T, ParseNameError>,
    exceptions: impl Fn(&str, &ParseNameError) -> bool,
    examples: &[&str],
) {
    let matcher = regex::Regex::new(pattern).unwrap();
    // ICU4X, Rust and regex may have different versions of Unicode, and differ in characters that one of them does
    // not know yet.
    let unassigned = regex::Regex::new(r"\p{Cn}").unwrap();
    let check = |text: &str| {
        let text: String = text.nfc().filter(|c| !unassigned.is_match(&c.to_string())).collect();
        match parse(&text) {
            Ok(_) => assert!(matcher.is_match(&text), "{text:?} {pattern}"),
            Err(error) if exceptions(&text, &error) => {}
            Err(error) => assert!(!matcher.is_match(&text), "{text:?} {pattern} {error:?}"),
        }
    };
    examples.iter().for_each(|text| check(text));
    let any = prop_oneof![
        fitting(pattern),
        "[ -~]{0,70}",
        "\\PC{0,45}",
        // Any single character at the beginning, in the middle and at the end.
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

/// Patterns ignore where a character is, and name no characters beyond the Basic Multilingual Plane.
fn is_by_place(text: &str, error: &ParseNameError) -> bool {
    match error {
        ParseNameError::Invisible { found } => {
            let is_listed = regex::Regex::new(concat!("[", invisible!(), "]")).unwrap();
            !is_listed.is_match(&found.to_string())
        }
        ParseNameError::Blank => true,
        // The pattern counts one trimmed blank beyond the Basic Multilingual Plane.
        ParseNameError::Length { .. } => {
            text.contains(|c: char| c > '\u{FFFF}' && visibility::is_space(c))
        }
        ParseNameError::Character { found, .. } => {
            *found > '\u{FFFF}' && visibility::is_space(*found)
        }
        _ => false,
    }
}

#[test]
fn every_pattern_matches_what_its_parser_accepts() {
    let long = |count: usize| "é".repeat(count);
    let (ok, bad) = (long(40), long(41));
    let lines =
        ["", " ", " a\t", "a\u{FEFF}", "\u{2800}a", "می\u{200C}خ", "👩\u{200D}🚀", &ok, &bad];
    agree(DisplayName::PATTERN, DisplayName::parse, is_by_place, &lines);
    let (ok, bad) = (long(120), long(121));
    let lines = ["\n a b\u{3000}", "a\u{85}b", "a\u{2028}b", &ok, &bad];
    agree(RoomTitle::PATTERN, RoomTitle::parse, is_by_place, &lines);
    let (ok, bad) = (long(64), long(65));
    let names =
        ["한글", "Ⓐ", "🅰", "a\u{301}", "a.b", "می\u{200C}خ", "क्\u{200D}ष", "\u{3164}", &ok, &bad];
    agree(
        RoomName::PATTERN,
        RoomName::parse,
        |text, error| match error {
            // `\p{L}` and `\p{M}` include some invisible characters.
            ParseNameError::Invisible { .. } => true,
            error => is_by_place(text, error),
        },
        &names,
    );
    let long = "x".repeat(255);
    let names = [
        ".",
        "..",
        "...",
        ".a",
        "..a",
        "a/b",
        "",
        "a\u{200B}",
        "\u{3000}",
        &long,
        &format!("{long}x"),
    ];
    // A pattern cannot express that invisible characters are removed before the name is measured.
    let is_changed = |text: &str, error: &ParseNameError| {
        *error == ParseNameError::Blank && !matches!(text, "." | "..")
            || matches!(error, ParseNameError::Length { .. }) && text.contains(is_invisible)
    };
    agree(FileName::PATTERN, FileName::parse, is_changed, &names);
    let never = |_: &str, _: &ParseNameError| false;
    agree(UserName::PATTERN, UserName::parse, never, &["Ada", "ad", "ada\n", "K\u{212A}elvin"]);
    agree(MessageText::PATTERN, MessageText::parse, never, &["", "\0", "a\nb"]);
    let seen = |text: &str| match MessageText::parse(text)? {
        text if text.is_blank() => Err(ParseNameError::Blank),
        text => Ok(text),
    };
    let texts = [
        "",
        " ",
        "\u{3000}a",
        "a\0",
        "\u{1F}",
        "\u{FEFF}",
        "\u{2800}",
        "\u{3164}\u{200D}",
        "\u{FE0F}",
    ];
    let is_beyond = |text: &str, _: &ParseNameError| text.contains(|c: char| c > '\u{FFFF}');
    agree(MessageText::SEEN_PATTERN, seen, is_beyond, &texts);
    let one = |_: &str, error: &ParseNameError| *error == ParseNameError::NotOneEmoji;
    agree(Emoji::PATTERN, Emoji::parse, one, &["👩‍👩‍👧", "x", "", "1", "\u{3000}"]);
}

/// The lists in patterns are those of Unicode.
#[test]
fn patterns_name_all_invisible_characters_of_the_basic_plane() {
    let listed = regex::Regex::new(concat!("[", invisible!(), "]")).unwrap();
    let by_place = regex::Regex::new(r"[\u180B-\u180F\u200C\u200D\uFE00-\uFE0F]").unwrap();
    let space = regex::Regex::new(concat!("[", space!(), "]")).unwrap();
    for c in '\0'..='\u{FFFF}' {
        let text = c.to_string();
        let is_hidden = visibility::is_control(c) || is_invisible(c);
        assert_eq!(listed.is_match(&text) || by_place.is_match(&text), is_hidden, "{c:?}");
        assert_eq!(space.is_match(&text), visibility::is_space(c), "{c:?}");
    }
}
