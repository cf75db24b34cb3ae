use proptest::prelude::*;
use unicode_normalization::UnicodeNormalization as _;

use super::*;

#[test]
fn names_are_folded_and_normalised_or_refused() {
    assert_eq!(UserName::parse("Ada.L").unwrap().as_str(), "ada.l");
    assert!(UserName::parse("ad").is_err());
    assert!(UserName::parse("ädä").is_err());
    assert_eq!(RoomName::parse("한글").unwrap().as_str(), "한글");
    for bad in ["", "a b", "a.b", "a*", "a>", "a/b", "<b>", &"x".repeat(65)] {
        assert!(RoomName::parse(bad).is_err(), "{bad:?}");
    }
    assert!(DisplayName::parse("  ").is_err());
    assert_eq!(DisplayName::parse("a\u{202E}b"), Err(ParseNameError::Invisible));
    assert!(MessageText::parse("a\0").is_err());
    assert!(Emoji::parse("👩‍👩‍👧").is_ok());
    assert!(Emoji::parse("x").is_err());
}

/// A text that matches a pattern. proptest does not support anchors.
fn fitting(pattern: &str) -> impl Strategy<Value = String> {
    let inner = pattern.strip_prefix('^').unwrap().strip_suffix('$').unwrap();
    proptest::string::string_regex(inner).unwrap()
}

/// Checks that a type's pattern matches exactly the texts that its parser accepts. Texts are compared in NFC,
/// as parsing may change their length.
fn agree<T>(pattern: &str, parse: impl Fn(&str) -> Result<T, ParseNameError>, examples: &[&str]) {
    let matcher = regex::Regex::new(pattern).unwrap();
    // Rust and regex may have different versions of Unicode, and differ in characters that one of them does not
    // know yet.
    let unassigned = regex::Regex::new(r"\p{Cn}").unwrap();
    let check = |text: &str| {
        let text: String = text.nfc().filter(|c| !unassigned.is_match(&c.to_string())).collect();
        assert_eq!(parse(&text).is_ok(), matcher.is_match(&text), "{text:?} {pattern}");
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

#[test]
fn every_pattern_matches_what_its_parser_accepts() {
    let long = |count: usize| "é".repeat(count);
    let (ok, bad) = (long(40), long(41));
    agree(DisplayName::PATTERN, DisplayName::parse, &["", " ", " a\t", "a\u{FEFF}", &ok, &bad]);
    let (ok, bad) = (long(120), long(121));
    agree(RoomTitle::PATTERN, RoomTitle::parse, &["\n a b\u{3000}", "a\u{85}b", &ok, &bad]);
    let (ok, bad) = (long(64), long(65));
    agree(RoomName::PATTERN, RoomName::parse, &["한글", "Ⓐ", "🅰", "a\u{301}", "a.b", &ok, &bad]);
    agree(UserName::PATTERN, UserName::parse, &["Ada", "ad", "ada\n", "K\u{212A}elvin"]);
    agree(MessageText::PATTERN, MessageText::parse, &["", "\0", "a\nb"]);
    let seen = |text: &str| MessageText::parse(text).map(|text| (!text.is_blank()).then_some(()));
    let seen = |text: &str| seen(text)?.ok_or(ParseNameError::Invisible);
    agree(MessageText::SEEN_PATTERN, seen, &["", " ", "\u{3000}a", "a\0", "\u{1F}", "\u{FEFF}"]);
    agree(Emoji::PATTERN, Emoji::parse, &["👩‍👩‍👧", "x", "", "1", "\u{3000}"]);
}

proptest! {
    #[test]
    fn parsing_a_parsed_name_changes_nothing(text in "\\PC{0,70}") {
        if let Ok(name) = RoomName::parse(&text) {
            prop_assert_eq!(RoomName::parse(name.as_str()).unwrap(), name);
        }
        if let Ok(name) = DisplayName::parse(&text) {
            prop_assert_eq!(DisplayName::parse(name.as_str()).unwrap(), name);
        }
        if let Ok(name) = UserName::parse(&text) {
            prop_assert_eq!(UserName::parse(name.as_str()).unwrap(), name);
        }
    }
}
