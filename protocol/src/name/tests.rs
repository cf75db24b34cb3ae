use proptest::prelude::*;

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
    assert!(MessageText::parse("a\0").is_err());
}

/// One character of every kind that readers do not see.
const HIDDEN: [char; 22] = [
    '\u{AD}',
    '\u{34F}',
    '\u{61C}',
    '\u{115F}',
    '\u{1160}',
    '\u{17B4}',
    '\u{180B}',
    '\u{180E}',
    '\u{200B}',
    '\u{200C}',
    '\u{200D}',
    '\u{200E}',
    '\u{2060}',
    '\u{2064}',
    '\u{206A}',
    '\u{3164}',
    '\u{FE00}',
    '\u{FE0F}',
    '\u{FEFF}',
    '\u{FFA0}',
    '\u{E0061}',
    '\u{E0100}',
];

#[test]
fn invisible_characters_are_refused_in_names_and_nothing_to_see_is_blank() {
    for hidden in HIDDEN {
        for text in [format!("ab{hidden}"), format!("{hidden}ab"), format!("a{hidden}b")] {
            let refused = Err(ParseNameError::Invisible { found: hidden });
            assert_eq!(DisplayName::parse(&text).map(drop), refused, "{text:?}");
            assert_eq!(RoomTitle::parse(&text).map(drop), refused, "{text:?}");
            assert_eq!(RoomName::parse(&text).map(drop), refused, "{text:?}");
            assert!(!MessageText::parse(&text).unwrap().is_blank(), "{text:?}");
        }
        let text = format!(" {hidden}\u{2800}\t{hidden}");
        assert!(MessageText::parse(&text).unwrap().is_blank(), "{text:?}");
        assert!(DisplayName::parse(&text).is_err(), "{text:?}");
    }
    for blank in ["\u{2800}", "\u{3000}\u{2800}", "\u{1D159}", "\u{13441}"] {
        assert!(DisplayName::parse(blank).is_err(), "{blank:?}");
        assert!(RoomName::parse(blank).is_err(), "{blank:?}");
        assert!(MessageText::parse(blank).unwrap().is_blank(), "{blank:?}");
    }
    assert_eq!(DisplayName::parse("Ada\u{2800}").unwrap().as_str(), "Ada");
}

#[test]
fn control_characters_have_an_error_of_their_own() {
    for control in ['\0', '\u{7}', '\u{1B}', '\u{7F}', '\u{85}', '\u{2028}'] {
        let refused = Err(ParseNameError::Control { found: control });
        let text = format!("a{control}b");
        assert_eq!(DisplayName::parse(&text).map(drop), refused);
        assert_eq!(RoomName::parse(&text).map(drop), refused);
    }
    let error = MessageText::parse("a\0b").unwrap_err().to_string();
    assert_eq!(error, "must not contain the control character U+0000");
}

/// Joiners and selectors that change what readers see, and texts where the same ones change nothing.
#[test]
fn scripts_and_emoji_keep_the_invisible_characters_that_they_need() {
    for name in [
        "می\u{200C}خواهم",          // Persian
        "کتاب\u{200C}ها",           // Persian
        "क्\u{200D}ष",               // Hindi
        "क्\u{200C}ष",               // Hindi
        "ශ්\u{200D}රී",               // Sinhala
        "র\u{200D}্যাব",              // Bengali
        "ನ್\u{200C}ನ",               // Kannada
        "\u{1820}\u{180B}\u{1820}", // Mongolian
        "葛\u{E0100}城",            // Japanese
    ] {
        assert_eq!(RoomName::parse(name).unwrap().as_str(), name, "{name:?}");
        assert!(DisplayName::parse(name).is_ok(), "{name:?}");
    }
    for name in [
        "👩\u{200D}🚀",
        "❤\u{FE0F}\u{200D}🔥",
        "👩🏽\u{200D}🚀",
        "☺\u{FE0E}",
        "1\u{FE0F}\u{20E3}",
        "🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    ] {
        assert_eq!(DisplayName::parse(name).unwrap().as_str(), name, "{name:?}");
    }
    for name in [
        "می\u{200C}",
        "a\u{200D}b",
        "क\u{200D}ष",
        "ا\u{200C}ب",
        "1\u{FE0F}",
        "👩\u{200D}",
        "👩\u{200D}a",
        "🏴\u{E0067}\u{E007F}",
        "🏴\u{E0067}",
        "a\u{E0100}",
        "한\u{180B}",
    ] {
        assert!(DisplayName::parse(name).is_err(), "{name:?}");
        assert!(RoomName::parse(name).is_err(), "{name:?}");
    }
}

#[test]
fn room_names_have_one_key_in_any_case_and_width() {
    let key = |name: &str| RoomName::parse(name).unwrap().key();
    for (one, other) in [
        ("Lobby", "lobby"),
        ("ÉCOLE", "e\u{301}cole"),
        ("Straße", "STRASSE"),
        ("ΟΔΟΣ", "οδος"),
        ("ｌｏｂｂｙ", "LOBBY"),
        ("می\u{200C}خواهم", "میخواهم"),
    ] {
        assert_eq!(key(one), key(other));
    }
    assert_ne!(key("lobby"), key("lobby-1"));
    assert_eq!(RoomName::parse("Lobby").unwrap().as_str(), "Lobby");
}

#[test]
fn every_recommended_emoji_is_a_reaction() {
    for emoji in emojis::iter().flat_map(|emoji| {
        let tones = emoji.skin_tones().map(Iterator::collect::<Vec<_>>);
        tones.unwrap_or_else(|| vec![emoji])
    }) {
        let text = emoji.as_str();
        assert_eq!(Emoji::parse(text).unwrap().as_str(), text);
        let unqualified = text.replace('\u{FE0F}', "");
        assert_eq!(Emoji::parse(&unqualified).unwrap().as_str(), text, "{unqualified:?}");
    }
    for (text, kept) in [
        ("❤", "❤️"),
        ("😀\u{FE0F}", "😀"),
        ("1\u{20E3}", "1️⃣"),
        ("👁\u{200D}🗨", "👁️‍🗨️"),
        ("🇰🇷", "🇰🇷"),
        ("👍🏽", "👍🏽"),
        ("👩‍👩‍👧", "👩‍👩‍👧"),
        ("🏴󠁧󠁢󠁳󠁣󠁴󠁿", "🏴󠁧󠁢󠁳󠁣󠁴󠁿"),
    ] {
        assert_eq!(Emoji::parse(text).unwrap().as_str(), kept, "{text:?}");
    }
    for bad in [
        "",
        " ",
        "x",
        "ok",
        "네",
        "좋아요",
        "1",
        "#",
        "👍👍",
        "👍x",
        " 👍",
        "🇰",
        "\u{FE0F}",
        "\u{FE0F}👍",
        "❤\u{FE0F}\u{FE0F}",
        "\u{200D}",
        "\u{3164}",
        "\u{2800}",
        "👩\u{200D}",
        "👍\u{200B}",
        "\u{E0067}",
        "★",
        "→",
        ":+1:",
        "thumbsup",
    ] {
        assert_eq!(Emoji::parse(bad), Err(ParseNameError::NotOneEmoji), "{bad:?}");
    }
}

#[test]
fn stored_names_stay_readable() {
    let old = "A\u{3164}";
    assert_eq!(DisplayName::from_stored(old).as_str(), old);
    assert_eq!(Emoji::from_stored("❤").as_str(), "❤️");
    assert_eq!(Emoji::from_stored("좋아요").as_str(), "좋아요");
    let id = crate::UserId::generate();
    let person: crate::stored::Person =
        serde_json::from_value(serde_json::json!({ "id": id, "name": old })).unwrap();
    assert_eq!(person.name.as_str(), old);
    for bad in ["a\0".to_owned(), "a\n".to_owned(), "x".repeat(41)] {
        let person = serde_json::json!({ "id": id, "name": bad });
        assert!(serde_json::from_value::<crate::stored::Person>(person).is_err(), "{bad:?}");
    }
}

#[test]
fn a_stored_title_may_be_missing() {
    let (by, at) = (crate::UserId::generate(), crate::Timestamp::now());
    let event = |title: &str| {
        let fields = format!(r#"{title}"private":true,"by":"{by}","at":"{at}""#);
        crate::stored::StoredEvent::decode(format!(r#"["room-updated",{{{fields}}}]"#).as_bytes())
    };
    for (json, expected) in [("", None), (r#""title":null,"#, None), (r#""title":"A","#, Some("A"))]
    {
        let Ok(crate::stored::StoredEvent::RoomUpdated { title, .. }) = event(json) else {
            panic!("{json} is not read")
        };
        assert_eq!(title.as_ref().map(RoomTitle::as_str), expected);
    }
    assert!(event("\"title\":\"\\u0000\",").is_err());
}

#[test]
fn misleading_file_names_are_refused_and_others_normalised() {
    for (name, kept) in [
        ("보고서 1.pdf", "보고서 1.pdf"),
        ("re\u{301}sume\u{301}.pdf", "résumé.pdf"),
        ("보고서.txt", "보고서.txt"),
        ("\u{200E}IMG-1.jpg", "IMG-1.jpg"),
        ("a\u{200B}\u{FEFF}.txt", "a.txt"),
        ("می\u{200C}خواهم.txt", "می\u{200C}خواهم.txt"),
        ("👩\u{200D}🚀.png", "👩\u{200D}🚀.png"),
        ("Screen Shot 10.00.00\u{202F}AM.png", "Screen Shot 10.00.00\u{202F}AM.png"),
    ] {
        assert_eq!(FileName::parse(name).unwrap().as_str(), kept, "{name:?}");
    }
    for bad in [
        "",
        " ",
        "\u{3164}",
        "\u{2800}",
        ".",
        "..",
        ".\u{200B}.",
        "a/b",
        "a\\b",
        "a\nb",
        "a\0b",
        "photo\u{202E}gpj.exe",
    ] {
        assert!(FileName::parse(bad).is_err(), "{bad:?}");
    }
}

/// The work for a name is bounded, although a body or frame may be long.
#[test]
fn long_names_are_refused_by_their_length() {
    for part in ["\u{200D}", "\u{E0061}", "ب\u{200C}", "👩\u{200D}", "\u{3164}", "a"] {
        let long = part.repeat(20_000);
        let is_long = |error| matches!(error, ParseNameError::Length { .. });
        assert!(DisplayName::parse(&long).is_err_and(is_long), "{part:?}");
        assert!(RoomName::parse(&long).is_err_and(is_long), "{part:?}");
        assert!(FileName::parse(&long).is_err_and(is_long), "{part:?}");
        assert!(Emoji::parse(&long).is_err(), "{part:?}");
    }
}

proptest! {
    #[test]
    fn parsing_a_parsed_name_changes_nothing(text in "\\PC{0,70}|[aم\u{200C}\u{200D}्क👩🚀\u{FE0F}❤]{0,9}") {
        if let Ok(name) = RoomName::parse(&text) {
            let again = RoomName::parse(name.as_str()).unwrap();
            prop_assert_eq!(again.key(), name.key());
            prop_assert!(!name.key().is_empty());
            prop_assert_eq!(again, name);
        }
        if let Ok(name) = DisplayName::parse(&text) {
            prop_assert_eq!(DisplayName::parse(name.as_str()).unwrap(), name);
        }
        if let Ok(name) = UserName::parse(&text) {
            prop_assert_eq!(UserName::parse(name.as_str()).unwrap(), name);
        }
        if let Ok(name) = FileName::parse(&text) {
            prop_assert_eq!(FileName::parse(name.as_str()).unwrap(), name);
        }
        if let Ok(emoji) = Emoji::parse(&text) {
            prop_assert_eq!(Emoji::parse(emoji.as_str()).unwrap(), emoji);
        }
    }

    /// No character that readers do not see makes two names of one.
    #[test]
    fn names_with_the_same_visible_characters_have_one_key(
        name in "[a-zم-ی가-힣]{1,5}",
        hidden in prop::sample::select(HIDDEN.to_vec()),
        at: prop::sample::Index,
    ) {
        let mut chars: Vec<char> = name.chars().collect();
        chars.insert(at.index(chars.len() + 1), hidden);
        let other: String = chars.into_iter().collect();
        if let (Ok(one), Ok(other)) = (RoomName::parse(&name), RoomName::parse(&other)) {
            prop_assert_eq!(one.key(), other.key());
        }
    }
}
