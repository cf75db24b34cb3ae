//! JSON from outside: parsed strictly, with errors that name the field and have a stable code.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned},
};

use crate::{code::Code, event::MAX_SEQ};

/// A body or event that is not of the contract's shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{}{detail}", .field.as_deref().unwrap_or(""), if .field.is_some() { ": " } else { "" })]
pub struct BadJson {
    /// One of the codes for shapes.
    pub code: Code,
    /// The path of the value, such as `parts[0].number`; none when it is the document as a whole.
    pub field: Option<String>,
    /// What is wrong with it.
    pub detail: String,
}

/// Parses the whole of `json`, which must be an object: serde would take an array for a struct too.
/// Nesting deeper than 128 is refused as malformed.
pub fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, BadJson> {
    if json.trim_ascii_start().first() != Some(&b'{') {
        let syntax = serde_json::from_slice::<serde::de::IgnoredAny>(json);
        return Err(match syntax {
            Ok(_) => BadJson {
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

fn describe(path: String, error: &serde_json::Error) -> BadJson {
    let text = error.to_string();
    // serde_json appends its position to every message; the field says more.
    let detail = text.split(" at line ").next().unwrap_or(&text).to_owned();
    let code = match error.classify() {
        serde_json::error::Category::Data => data_code(&detail),
        _ => Code::MalformedJson,
    };
    // For these serde's path is the parent's; the name stands in the message.
    let named = match code {
        Code::UnknownField | Code::MissingField | Code::DuplicateField => {
            detail.split('`').nth(1).map(str::to_owned)
        }
        _ => None,
    };
    let parent = Some(path).filter(|path| path != "." && code != Code::MalformedJson);
    let field = match (parent, named) {
        (Some(parent), Some(name)) if parent != name && !parent.ends_with(&format!(".{name}")) => {
            Some(format!("{parent}.{name}"))
        }
        (Some(parent), _) => Some(parent),
        (None, named) => named,
    };
    BadJson { code, field, detail }
}

/// The code for what serde says: its messages are the only place where it says so.
fn data_code(detail: &str) -> Code {
    const BY_PREFIX: [(&str, Code); 4] = [
        ("unknown field", Code::UnknownField),
        ("missing field", Code::MissingField),
        ("duplicate field", Code::DuplicateField),
        ("invalid type", Code::WrongType),
    ];
    BY_PREFIX
        .into_iter()
        .find_map(|(prefix, code)| detail.starts_with(prefix).then_some(code))
        .unwrap_or(Code::InvalidValue)
}

/// A whole number that JavaScript has exactly: 0 to 2^53 - 1. To JSON `7.0` is one too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, utoipa::ToSchema)]
#[schema(value_type = u64, minimum = 0, maximum = 9_007_199_254_740_991_u64)]
pub struct Whole(u64);

impl Whole {
    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Whole;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a whole number of 0 to {MAX_SEQ}")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Whole, E> {
                if number > MAX_SEQ {
                    return Err(E::invalid_value(de::Unexpected::Unsigned(number), &self));
                }
                Ok(Whole(number))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Whole, E> {
                let unsigned = u64::try_from(number);
                unsigned
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))
                    .and_then(|number| self.visit_u64(number))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Whole, E> {
                if number.fract() != 0.0 || !(0.0..=MAX_SEQ as f64).contains(&number) {
                    return Err(E::invalid_value(de::Unexpected::Float(number), &self));
                }
                Ok(Whole(number as u64))
            }
        }

        // Of a query too, where only this finds a number in the text.
        deserializer.deserialize_u64(Visitor)
    }
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
        /// What is taken is what serde takes of an object; what is refused has a code for shapes.
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
                        Code::UnknownField | Code::MissingField | Code::DuplicateField | Code::InvalidValue => of_a_field,
                        _ => false,
                    }, "{:?}", bad);
                }
            }
        }

        #[test]
        fn a_whole_number_is_what_javascript_has_exactly(number in prop_oneof![any::<f64>(), (0..1_u64 << 54).prop_map(|n| n as f64)]) {
            let json = serde_json::to_string(&number).unwrap();
            let whole = serde_json::from_str::<Whole>(&json).ok().map(Whole::get);
            let is_whole = number.is_finite() && number.fract() == 0.0 && (0.0..=MAX_SEQ as f64).contains(&number);
            prop_assert_eq!(whole, is_whole.then_some(number as u64));
        }
    }

    #[test]
    fn a_whole_number_is_one_however_it_is_written() {
        let parse = |json: &str| serde_json::from_str::<Whole>(json).ok().map(Whole::get);
        for (json, number) in [
            ("0", 0),
            ("7.0", 7),
            ("7e2", 700),
            ("1824167964077043.0", 1_824_167_964_077_043),
            ("9007199254740991", MAX_SEQ),
        ] {
            assert_eq!(parse(json), Some(number), "{json}");
        }
        for json in
            ["-1", "-1.0", "0.5", "9007199254740992", "9007199254740992.0", "1e300", "\"7\""]
        {
            assert_eq!(parse(json), None, "{json}");
        }
        let schema = serde_json::json!(<Whole as utoipa::PartialSchema>::schema());
        assert_eq!(schema["maximum"], MAX_SEQ);
    }
}
