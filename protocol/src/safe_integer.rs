//! Integers that every JSON reader keeps exact.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

/// An integer from 0 to 2^53 - 1, the range that JavaScript keeps exact (RFC 8259, section 6). A number
/// written with a fraction of zero, such as `7.0`, is the same JSON number and is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, utoipa::ToSchema)]
#[schema(value_type = u64, minimum = 0, maximum = 9_007_199_254_740_991_u64)]
pub struct SafeInteger(u64);

impl SafeInteger {
    /// The largest one.
    pub const MAX: u64 = (1 << 53) - 1;

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

struct Visitor;

impl de::Visitor<'_> for Visitor {
    type Value = SafeInteger;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an integer from 0 to {}", SafeInteger::MAX)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<SafeInteger, E> {
        if number > SafeInteger::MAX {
            return Err(E::invalid_value(de::Unexpected::Unsigned(number), &self));
        }
        Ok(SafeInteger(number))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<SafeInteger, E> {
        let unsigned = u64::try_from(number);
        unsigned
            .map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))
            .and_then(|number| self.visit_u64(number))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<SafeInteger, E> {
        if number.fract() != 0.0 || !(0.0..=SafeInteger::MAX as f64).contains(&number) {
            return Err(E::invalid_value(de::Unexpected::Float(number), &self));
        }
        Ok(SafeInteger(number as u64))
    }
}

impl<'de> Deserialize<'de> for SafeInteger {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Not `deserialize_any`: a query string has no types, and only `deserialize_u64` parses a number from
        // its text.
        deserializer.deserialize_u64(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(json: &str) -> Option<u64> {
        serde_json::from_str::<SafeInteger>(json).ok().map(SafeInteger::get)
    }

    proptest! {
        #[test]
        fn every_safe_integer_is_accepted(
            number in prop_oneof![any::<f64>(), (0..1_u64 << 54).prop_map(|n| n as f64)],
        ) {
            let json = serde_json::to_string(&number).unwrap();
            let is_safe = number.is_finite()
                && number.fract() == 0.0
                && (0.0..=SafeInteger::MAX as f64).contains(&number);
            prop_assert_eq!(parse(&json), is_safe.then_some(number as u64));
        }
    }

    #[test]
    fn every_notation_of_an_integer_is_accepted() {
        for (json, number) in [
            ("0", 0),
            ("7.0", 7),
            ("7e2", 700),
            ("1824167964077043.0", 1_824_167_964_077_043),
            ("9007199254740991", SafeInteger::MAX),
        ] {
            assert_eq!(parse(json), Some(number), "{json}");
        }
        for json in
            ["-1", "-1.0", "0.5", "9007199254740992", "9007199254740992.0", "1e300", "\"7\""]
        {
            assert_eq!(parse(json), None, "{json}");
        }
        let schema = serde_json::json!(<SafeInteger as utoipa::PartialSchema>::schema());
        assert_eq!(schema["maximum"], SafeInteger::MAX);
    }
}
