//! Case folding: the form in which texts are compared when upper and lower case, width and compatibility forms do not
//! matter. Computed here and not by the databases, each of which knows other characters.

use icu_casemap::{CaseMapper, CaseMapperBorrowed};
use icu_properties::{
    CodePointMapData, CodePointMapDataBorrowed, CodePointSetData, CodePointSetDataBorrowed,
    props::{DefaultIgnorableCodePoint, Emoji, EmojiComponent, Script},
};
use unicode_normalization::UnicodeNormalization as _;

const CASES: CaseMapperBorrowed<'static> = CaseMapper::new();
const IGNORABLE: CodePointSetDataBorrowed<'static> =
    CodePointSetData::new::<DefaultIgnorableCodePoint>();
const EMOJI: CodePointSetDataBorrowed<'static> = CodePointSetData::new::<Emoji>();
const EMOJI_COMPONENT: CodePointSetDataBorrowed<'static> =
    CodePointSetData::new::<EmojiComponent>();
const SCRIPT: CodePointMapDataBorrowed<'static, Script> = CodePointMapData::<Script>::new();
const DOT_ABOVE: char = '\u{307}';

/// The folded form of a text: full case folding and NFKC without ignorable characters (Unicode, definition D147), where
/// the four i of Turkish are one: texts are folded without knowledge of their language.
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let decomposed: String = text.nfd().collect();
    let compatible: String = CASES.fold_string(&decomposed).nfkd().collect();
    let folded = CASES.fold_string(&compatible);
    let visible = folded.nfkd().filter(|c| !IGNORABLE.contains(*c));
    let mut previous = None;
    let dotless = visible.filter_map(|c| {
        let c = if c == 'ı' { 'i' } else { c };
        if c == DOT_ABOVE && previous == Some('i') {
            return None;
        }
        previous = Some(c);
        Some(c)
    });
    dotless.nfc().collect()
}

/// Whether one character is a word or a syllable, so that a search for it alone is useful: Chinese, Japanese and Korean
/// characters, and emoji. Digits and signs that are the base of an emoji are none.
pub fn is_searchable_alone(c: char) -> bool {
    let is_emoji = EMOJI.contains(c) && !EMOJI_COMPONENT.contains(c);
    let is_cjk = matches!(
        SCRIPT.get(c),
        Script::Han | Script::Hiragana | Script::Katakana | Script::Hangul | Script::Bopomofo
    );
    (is_emoji || is_cjk) && !IGNORABLE.contains(c)
}

/// The characters of a text without those that folding removes.
pub fn searchable_chars(text: &str) -> usize {
    text.chars().filter(|c| !IGNORABLE.contains(*c)).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn variants_of_a_text_are_folded_to_one() {
        for (text, folded) in [
            ("ΣΊΣΥΦΟΣ", "σίσυφοσ"),
            ("Σίσυφος", "σίσυφοσ"),
            ("STRASSE", "strasse"),
            ("Straße", "strasse"),
            ("STRAẞE", "strasse"),
            ("İSTANBUL", "istanbul"),
            ("ISPARTA", "isparta"),
            ("ısparta", "isparta"),
            ("ＬＯＢＢＹ　１", "lobby 1"),
            ("ｶﾞｲﾄﾞ", "ガイド"),
            ("a\u{308}RGER", "ärger"),
            ("ﬁsh", "fish"),
            ("می\u{200C}خواهم", "میخواهم"),
            ("❤\u{FE0F}", "❤"),
            ("ᾼ", "αι"),
            ("한글", "한글"),
            ("한글", "한글"),
        ] {
            assert_eq!(fold(text), folded, "{text:?}");
        }
    }

    #[test]
    fn one_character_is_enough_where_it_is_a_word() {
        for c in "봄人かカｶㄅ\u{20000}👍❤©".chars() {
            assert!(is_searchable_alone(c), "{c:?}");
        }
        for c in "aéжα1#٣\u{3164}\u{115F}\u{200D}\u{FE0F} ".chars() {
            assert!(!is_searchable_alone(c), "{c:?}");
        }
        assert_eq!(searchable_chars("a\u{200B}\u{3164}"), 1);
    }

    proptest! {
        #[test]
        fn folding_twice_is_folding_once(text in "\\PC{0,40}|[iIİı\u{307}\u{323}\u{301}aㅤ\u{115F}]{0,6}") {
            let once = fold(&text);
            prop_assert_eq!(fold(&once), once);
        }

        #[test]
        fn upper_and_lower_case_are_one(text in "\\PC{0,20}") {
            prop_assert_eq!(fold(&text.to_uppercase()), fold(&text));
            prop_assert_eq!(fold(&text.to_lowercase()), fold(&text));
        }

        #[test]
        fn normalisation_changes_nothing(text in "\\PC{0,20}") {
            for form in [text.nfd().collect::<String>(), text.nfkc().collect()] {
                prop_assert_eq!(fold(&form), fold(&text));
            }
        }

        #[test]
        fn ascii_is_folded_as_any_text_is(text in "[ -~]{0,40}") {
            prop_assert_eq!(fold(&text) + "한", fold(&(text + "한")));
        }
    }
}
