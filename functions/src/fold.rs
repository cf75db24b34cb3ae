//! Texts as they are looked for: upper and lower case are one, and so are a letter with its marks and
//! both apart. Done here and not by the databases, which each know other alphabets.

use unicode_normalization::UnicodeNormalization as _;

/// The text in the form in which it is compared.
pub fn fold(text: &str) -> String {
    text.nfc().flat_map(char::to_lowercase).nfc().collect()
}

/// The form to store beside a text; none where it is the text itself.
pub fn if_other(text: &str) -> Option<String> {
    Some(fold(text)).filter(|folded| folded != text)
}

/// A LIKE pattern for a part of a folded text, in which `%`, `_` and `\` stand for themselves.
pub fn containing(part: &str) -> String {
    let mut pattern = String::from("%");
    for c in fold(part).chars() {
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
    fn wildcards_stand_for_themselves_and_case_for_nothing() {
        assert_eq!(containing("50%_A\\"), r"%50\%\_a\\%");
        assert_eq!(fold("ÄRGER"), fold("a\u{308}rger"));
        assert_eq!(if_other("안녕 hello"), None);
        assert_eq!(if_other("안녕 Hello").as_deref(), Some("안녕 hello"));
    }

    proptest! {
        #[test]
        fn folding_twice_is_folding_once(text in "\\PC{0,40}") {
            let once = fold(&text);
            prop_assert_eq!(fold(&once), once);
        }

        /// What LIKE finds is what contains it, read as the databases read a pattern.
        #[test]
        fn a_pattern_is_its_part_between_anything(part in "[a%_\\\\ 한]{0,12}") {
            let pattern = containing(&part);
            let inner = pattern.strip_prefix('%').and_then(|rest| rest.strip_suffix('%')).unwrap();
            let (mut plain, mut chars) = (String::new(), inner.chars());
            while let Some(c) = chars.next() {
                prop_assert!(!matches!(c, '%' | '_'), "a wildcard is left in {}", pattern);
                plain.push(if c == '\\' { chars.next().unwrap() } else { c });
            }
            prop_assert_eq!(plain, fold(&part));
        }
    }
}
