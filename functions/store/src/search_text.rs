//! The text that is searched instead of the original, in which case, width and combining forms do not matter.

use protocol::fold::fold;

/// The version of [`fold`], stored with every search text. After a change of its rules, a new version makes the archive
/// recompute older texts ([`crate::refold`]).
pub const FOLD_VERSION: i64 = 1;

/// The stored search text (column `parts`): folded, with an `X` around every character; a folded text contains no
/// upper-case X. PostgreSQL's trigram index needs three characters. With the X, one or two characters of a text are
/// enough, and most Korean and Chinese words have two.
pub fn search_text(text: &str) -> String {
    let mut parts = String::from("X");
    for c in fold(text).chars() {
        parts.extend([c, 'X']);
    }
    parts
}

/// The search text of a room: its name and title.
pub fn room_search_text(name: &str, title: Option<&str>) -> String {
    search_text(&format!("{name} {}", title.unwrap_or_default()))
}

/// The LIKE pattern that matches the [`search_text`] of texts that contain `part`. `%`, `_` and `\` are escaped.
pub fn like_pattern(part: &str) -> String {
    let parts = search_text(part);
    // The leading X makes a single character usable for the index. With more characters it would slow PostgreSQL down,
    // which would start a comparison at every X.
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
    fn case_is_ignored_and_wildcards_are_escaped() {
        assert_eq!(search_text("ÄRger"), search_text("a\u{308}RGER"));
        assert_eq!(search_text("안 A"), "X안X XaX");
        assert_eq!(like_pattern("5%A\\"), r"%5X\%XaX\\X%");
        assert_eq!(like_pattern("봄"), "%X봄X%");
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

        /// The separator of [`search_text`] never occurs in a folded text.
        #[test]
        fn a_folded_text_contains_no_upper_case_x(text in "\\PC{0,40}") {
            prop_assert!(!fold(&text).contains('X'));
        }

        /// Unescapes the pattern as the databases do.
        #[test]
        fn a_pattern_is_the_escaped_part_between_wildcards(part in "[a%_X\\\\ 한]{0,12}") {
            let pattern = like_pattern(&part);
            let inner = pattern.strip_prefix('%').and_then(|rest| rest.strip_suffix('%')).unwrap();
            let (mut plain, mut chars) = (String::new(), inner.chars());
            while let Some(c) = chars.next() {
                prop_assert!(!matches!(c, '%' | '_'), "a wildcard is left in {}", pattern);
                plain.push(if c == '\\' { chars.next().unwrap() } else { c });
            }
            prop_assert!(search_text(&part).ends_with(&plain) && search_text(&part).len() <= plain.len() + 1);
        }

        #[test]
        fn a_pattern_matches_exactly_the_texts_that_contain_the_part(text in "[axX한é ]{0,9}", part in "[axX한é]{1,3}") {
            let pattern = like_pattern(&part);
            let held = search_text(&text).contains(pattern.trim_matches('%'));
            prop_assert_eq!(held, fold(&text).contains(&fold(&part)));
        }
    }
}
