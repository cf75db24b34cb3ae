//! Test helper: a schema's pattern and the parser accept the same texts.

use proptest::prelude::*;

/// Texts that match a pattern, and texts that nearly match it. Anchors are removed, because proptest does not support
/// them.
fn texts_near(pattern: &str) -> impl Strategy<Value = String> {
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

pub fn assert_same_language<T>(
    pattern: &str,
    parse: impl Fn(&str) -> Option<T>,
    examples: &[&str],
) {
    let matcher = regex::Regex::new(pattern).unwrap();
    let check = |text: &str| {
        assert_eq!(parse(text).is_some(), matcher.is_match(text), "{text:?} {pattern}");
    };
    examples.iter().for_each(|text| check(text));
    let mut runner = proptest::test_runner::TestRunner::default();
    let run = runner.run(&texts_near(pattern), |text| {
        check(&text);
        Ok(())
    });
    run.unwrap();
}

pub fn pattern_of<T: utoipa::PartialSchema>() -> String {
    serde_json::json!(T::schema())["pattern"].as_str().unwrap().to_owned()
}
