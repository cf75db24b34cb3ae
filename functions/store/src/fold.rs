//! Texts as they are looked for: upper and lower case are one, and so are a letter with its marks and
//! both apart. Done here and not by the databases, which each know other alphabets.

use unicode_normalization::UnicodeNormalization as _;

/// The text in the form in which it is compared.
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    text.nfc().flat_map(char::to_lowercase).nfc().collect()
}

/// The text as it is stored to be looked for: folded, with an X around every character, which no
/// folded text holds. PostgreSQL's index takes three characters at a time; of these, three are one or
/// two of the text, and most words of Korean or Chinese have two.
pub fn search_text(text: &str) -> String {
    let mut parts = String::from("X");
    for c in fold(text).chars() {
        parts.extend([c, 'X']);
    }
    parts
}

/// A LIKE pattern for the [`search_text`] of a text with this part in it. `%`, `_` and `\` stand for
/// themselves.
pub fn containing(part: &str) -> String {
    let parts = search_text(part);
    // The first X helps the index with one character alone, and slows PostgreSQL down with more: it
    // would begin to compare at every X.
    let is_one = parts.chars().nth(3).is_none();
    let mut pattern = String::from("%");
    for c in parts.chars().skip(usize::from(!is_one)) {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn case_stands_for_nothing_and_wildcards_for_themselves() {
        assert_eq!(search_text("ÄRger"), search_text("a\u{308}RGER"));
        assert_eq!(search_text("안 A"), "X안X XaX");
        assert_eq!(containing("5%A\\"), r"%5X\%XaX\\X%");
        assert_eq!(containing("봄"), "%X봄X%");
    }

    proptest! {
        #[test]
        fn folding_twice_is_folding_once(text in "\\PC{0,40}") {
            let once = fold(&text);
            prop_assert_eq!(fold(&once), once);
        }

        #[test]
        fn ascii_is_folded_as_any_text_is(text in "[ -~]{0,40}") {
            prop_assert_eq!(fold(&text) + "한", fold(&(text + "한")));
        }

        /// No text that is looked for holds what stands around its characters.
        #[test]
        fn nothing_folded_has_an_x_in_upper_case(text in "\\PC{0,40}") {
            prop_assert!(!fold(&text).contains('X'));
        }

        /// Read as the databases read a pattern.
        #[test]
        fn a_pattern_is_its_part_between_anything(part in "[a%_X\\\\ 한]{0,12}") {
            let pattern = containing(&part);
            let inner = pattern.strip_prefix('%').and_then(|rest| rest.strip_suffix('%')).unwrap();
            let (mut plain, mut chars) = (String::new(), inner.chars());
            while let Some(c) = chars.next() {
                prop_assert!(!matches!(c, '%' | '_'), "a wildcard is left in {}", pattern);
                plain.push(if c == '\\' { chars.next().unwrap() } else { c });
            }
            prop_assert!(search_text(&part).ends_with(&plain) && search_text(&part).len() <= plain.len() + 1);
        }

        #[test]
        fn parts_hold_just_the_parts(text in "[axX한é ]{0,9}", part in "[axX한é]{1,3}") {
            let pattern = containing(&part);
            let held = search_text(&text).contains(pattern.trim_matches('%'));
            prop_assert_eq!(held, fold(&text).contains(&fold(&part)));
        }
    }
}
