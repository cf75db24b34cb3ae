//! Sequence numbers of JetStream, which order a room's events and name its messages.

use std::{fmt, num::ParseIntError, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::safe_integer::SafeInteger;

/// The sequence of an event in its JetStream stream, from 0 to 2^53 - 1: JavaScript keeps no larger
/// integer exact, and it fits into the signed `BIGINT` of a database.
///
/// Strictly an integer in JSON. HTTP also accepts `7.0`: its bodies and queries are parsed as
/// [`SafeInteger`] first.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "u64", into = "u64")]
pub struct Seq(u64);

/// A number that is not a [`Seq`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a seq is an integer from 0 to 2^53 - 1")]
pub struct SeqError;

impl Seq {
    /// The seq before the first event of a stream, which has seq 1. As a head it means "no event yet", as a
    /// position to read after "from the beginning".
    pub const ZERO: Self = Self(0);
    /// A seq above every event, because no stream ever reaches it.
    pub const MAX: Self = Self(SafeInteger::MAX);

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The seq after this one. [`Self::MAX`] stays as it is.
    pub const fn next(self) -> Self {
        self.saturating_add(1)
    }

    /// The seq before this one. [`Self::ZERO`] stays as it is.
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// The seq that is `count` further, at most [`Self::MAX`].
    pub const fn saturating_add(self, count: u64) -> Self {
        let sum = self.0.saturating_add(count);
        if sum > Self::MAX.0 { Self::MAX } else { Self(sum) }
    }
}

impl TryFrom<u64> for Seq {
    type Error = SeqError;
    fn try_from(number: u64) -> Result<Self, SeqError> {
        if number > Self::MAX.0 { Err(SeqError) } else { Ok(Self(number)) }
    }
}

impl TryFrom<i64> for Seq {
    type Error = SeqError;
    fn try_from(number: i64) -> Result<Self, SeqError> {
        u64::try_from(number).map_err(|_| SeqError)?.try_into()
    }
}

impl From<u32> for Seq {
    fn from(number: u32) -> Self {
        Self(number.into())
    }
}

impl From<SafeInteger> for Seq {
    fn from(number: SafeInteger) -> Self {
        Self(number.get())
    }
}

impl From<Seq> for u64 {
    fn from(seq: Seq) -> Self {
        seq.0
    }
}

impl From<Seq> for i64 {
    fn from(seq: Seq) -> Self {
        // At most 2^53 - 1.
        seq.0.cast_signed()
    }
}

impl FromStr for Seq {
    type Err = SeqError;
    fn from_str(text: &str) -> Result<Self, SeqError> {
        let number: Result<u64, ParseIntError> = text.parse();
        number.map_err(|_| SeqError)?.try_into()
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Numbers near both bounds as often as anywhere.
    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![any::<u64>(), 0..9_u64, (1 << 53) - 9..(1_u64 << 53) + 9]
    }

    proptest! {
        #[test]
        fn every_conversion_has_the_same_bounds(number in number()) {
            let is_in_bounds = number < 1 << 53;
            let text = number.to_string();
            let expected = is_in_bounds.then_some(number);
            prop_assert_eq!(Seq::try_from(number).ok().map(Seq::get), expected);
            prop_assert_eq!(text.parse().ok().map(Seq::get), expected);
            prop_assert_eq!(serde_json::from_str(&text).ok().map(Seq::get), expected);
            let signed = number.cast_signed();
            prop_assert_eq!(Seq::try_from(signed).ok().map(i64::from), expected.map(|_| signed));
        }

        #[test]
        fn a_seq_round_trips_through_json_and_the_database(number in 0..1_u64 << 53) {
            let seq = Seq::try_from(number).unwrap();
            prop_assert_eq!(serde_json::to_string(&seq).unwrap(), number.to_string());
            prop_assert_eq!(seq.to_string().parse(), Ok(seq));
            prop_assert_eq!(Seq::try_from(i64::from(seq)), Ok(seq));
            prop_assert_eq!(u64::from(seq), number);
            prop_assert_eq!(seq.next().previous(), if seq == Seq::MAX { seq.previous() } else { seq });
        }

        #[test]
        fn seqs_are_ordered_like_their_numbers(one in 0..1_u64 << 53, other in 0..1_u64 << 53) {
            let [one_seq, other_seq] = [one, other].map(|number| Seq::try_from(number).unwrap());
            prop_assert_eq!(one_seq.cmp(&other_seq), one.cmp(&other));
            prop_assert!(one_seq.saturating_add(other) >= one_seq);
        }
    }

    #[test]
    fn texts_that_are_not_integers_are_refused() {
        for json in ["-1", "7.0", "1e3", "0.5", "9007199254740992", "\"7\"", "null", "true"] {
            assert!(serde_json::from_str::<Seq>(json).is_err(), "{json}");
        }
        for text in ["", "-1", "7 ", "0x7", "\u{0667}", "18446744073709551616"] {
            assert!(text.parse::<Seq>().is_err(), "{text}");
        }
        assert_eq!(Seq::default(), Seq::ZERO);
        assert_eq!((Seq::ZERO.previous(), Seq::MAX.next()), (Seq::ZERO, Seq::MAX));
    }
}
