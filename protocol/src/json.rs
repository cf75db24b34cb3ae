//! Strict parsing of JSON from clients. Errors have a stable code and name the field.

use serde::de::DeserializeOwned;

use crate::code::Code;

/// A body or event that does not have the expected shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{}{detail}", .field.as_deref().unwrap_or(""), if .field.is_some() { ": " } else { "" })]
pub struct JsonError {
    /// One of the codes for malformed input, such as [`Code::WrongType`].
    pub code: Code,
    /// The path of the value, such as `parts[0].number`. `None` for the document as a whole.
    pub field: Option<String>,
    /// What is wrong, for the client's developer.
    pub detail: String,
}

/// Parses a JSON object. Refuses arrays, which serde would accept for a struct. JSON that is nested deeper than
/// 128 levels is malformed.
pub fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, JsonError> {
    if json.trim_ascii_start().first() != Some(&b'{') {
        let syntax = serde_json::from_slice::<serde::de::IgnoredAny>(json);
        return Err(match syntax {
            Ok(_) => JsonError {
                code: Code::WrongType,
                field: None,
                detail: "must be a JSON object".into(),
            },
            Err(error) => describe(".".into(), &error),
        });
    }
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        describe(path, error.inner())
    })?;
    deserializer.end().map_err(|error| describe(".".into(), &error))?;
    Ok(value)
}

fn describe(path: String, error: &serde_json::Error) -> JsonError {
    let text = error.to_string();
    // serde_json appends the position to every message. The field's path replaces it.
    let detail = text.split(" at line ").next().unwrap_or(&text).to_owned();
    let (code, named) = match error.classify() {
        serde_json::error::Category::Data => classify(&detail),
        _ => (Code::MalformedJson, None),
    };
    // For an error with a name the path is that of the parent.
    let named = named.map(str::to_owned);
    let parent = Some(path).filter(|path| path != "." && code != Code::MalformedJson);
    let field = match (parent, named) {
        (Some(parent), Some(name)) if parent != name && !parent.ends_with(&format!(".{name}")) => {
            Some(format!("{parent}.{name}"))
        }
        (Some(parent), _) => Some(parent),
        (None, named) => named,
    };
    JsonError { code, field, detail }
}

/// The code for an error message of serde, and the name of an unknown, missing or duplicate field. Serde has no other
/// way to tell these errors apart.
pub fn classify(message: &str) -> (Code, Option<&str>) {
    const NAMED: [(&str, Code); 3] = [
        ("unknown field `", Code::UnknownField),
        ("missing field `", Code::MissingField),
        ("duplicate field `", Code::DuplicateField),
    ];
    let named = NAMED.into_iter().find_map(|(prefix, code)| {
        let name = message.strip_prefix(prefix)?.split('`').next()?;
        Some((code, Some(name)))
    });
    let other =
        if message.starts_with("invalid type") { Code::WrongType } else { Code::InvalidValue };
    named.unwrap_or((other, None))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;
    use crate::RoomName;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        #[expect(dead_code, reason = "only parsed")]
        name: RoomName,
        #[expect(dead_code, reason = "only parsed")]
        private: Option<bool>,
    }

    #[test]
    fn every_kind_of_bad_json_has_its_code_and_field() {
        let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
        for (json, code, field) in [
            (r#"{"name":"a""#, Code::MalformedJson, None),
            (r#"{"name":"a"} x"#, Code::MalformedJson, None),
            (deep.as_str(), Code::WrongType, None),
            (r#"["a",true]"#, Code::WrongType, None),
            ("", Code::MalformedJson, None),
            (r#"{"name":"a","x":1}"#, Code::UnknownField, Some("x")),
            (r#"{"private":true}"#, Code::MissingField, Some("name")),
            (r#"{"name":"a","name":"b"}"#, Code::DuplicateField, Some("name")),
            (r#"{"name":"a","private":"yes"}"#, Code::WrongType, Some("private")),
            (r#"{"name":"a b"}"#, Code::InvalidValue, Some("name")),
        ] {
            let bad = parse::<Body>(json.as_bytes()).unwrap_err();
            assert_eq!((bad.code, bad.field.as_deref()), (code, field), "{json:.40}: {bad}");
        }
    }

    proptest! {
        /// An object is accepted exactly if serde accepts it; everything else is refused with a code for
        /// malformed input.
        #[test]
        fn any_text_is_parsed_or_refused_with_a_code(
            text in "\\PC{0,30}|[\\[{]?(\"(name|private|x)\":(\"a\"|true|null|1e9|\\{\\}),?){0,3}[\\]}]?[ x]?",
        ) {
            let is_object = text.trim_ascii_start().starts_with('{');
            match parse::<Body>(text.as_bytes()) {
                Ok(_) => prop_assert!(is_object && serde_json::from_str::<Body>(&text).is_ok()),
                Err(bad) => {
                    prop_assert!(!is_object || serde_json::from_str::<Body>(&text).is_err());
                    let of_a_field = bad.field.is_some();
                    prop_assert!(match bad.code {
                        Code::MalformedJson => !of_a_field,
                        Code::WrongType => true,
                        Code::UnknownField
                        | Code::MissingField
                        | Code::DuplicateField
                        | Code::InvalidValue => of_a_field,
                        _ => false,
                    }, "{:?}", bad);
                }
            }
        }
    }
}
