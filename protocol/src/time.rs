//! Timestamps on the wire: RFC 3339 in UTC, with milliseconds.

use chrono::{DateTime, Datelike as _, SecondsFormat, SubsecRound, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// The years that RFC 3339 can express. PostgreSQL refuses other dates, and SQLite sorts them wrongly, as text.
const YEARS: std::ops::RangeInclusive<i32> = 0..=9999;

/// A point in time, truncated to the millisecond so that it is unchanged by the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, utoipa::ToSchema)]
#[schema(
    value_type = String,
    format = DateTime,
    pattern = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$",
    example = "2026-01-31T12:00:00.000Z"
)]
pub struct Timestamp(DateTime<Utc>);

impl Timestamp {
    pub fn now() -> Self {
        Self::from(Utc::now())
    }

    /// The value that databases bind.
    pub const fn utc(self) -> DateTime<Utc> {
        self.0
    }

    /// Seconds since the Unix epoch, as in JWTs.
    pub const fn unix(self) -> i64 {
        self.0.timestamp()
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(moment: DateTime<Utc>) -> Self {
        Self(moment.trunc_subsecs(3))
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let moment = DateTime::<Utc>::deserialize(deserializer)?;
        if !YEARS.contains(&moment.year()) {
            return Err(D::Error::custom("a year outside 0000 to 9999"));
        }
        Ok(Self::from(moment))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// For all times from the year 0 to 9999, which RFC 3339 can express.
        #[test]
        fn every_timestamp_keeps_its_milliseconds(
            millis in -62_167_219_200_000..=253_402_300_799_999_i64,
            nanos in 0..1_000_000_i64,
        ) {
            let exact = DateTime::from_timestamp_millis(millis).unwrap();
            let moment = Timestamp::from(exact + chrono::TimeDelta::nanoseconds(nanos));
            let json = serde_json::to_string(&moment).unwrap();
            prop_assert_eq!(json.len(), "\"2026-01-31T12:00:00.000Z\"".len());
            prop_assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), moment);
            prop_assert_eq!(moment.utc(), exact);
        }

        /// RFC 3339 has several forms of the same moment.
        #[test]
        fn offsets_are_converted_to_utc(
            millis in -62_167_000_000_000..253_402_000_000_000_i64,
            minutes in -1439..=1439_i32,
        ) {
            let moment = Timestamp::from(DateTime::from_timestamp_millis(millis).unwrap());
            let offset = chrono::FixedOffset::east_opt(minutes * 60).unwrap();
            let elsewhere = moment.utc().with_timezone(&offset).to_rfc3339();
            let json = serde_json::to_string(&elsewhere).unwrap();
            prop_assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), moment);
        }

        #[test]
        fn a_text_without_a_date_is_refused(text in "\\PC{0,30}") {
            prop_assume!(!text.contains('-'));
            let json = serde_json::to_string(&text).unwrap();
            prop_assert!(serde_json::from_str::<Timestamp>(&json).is_err());
        }
    }

    #[test]
    fn years_that_rfc_3339_cannot_write_are_refused() {
        for text in [
            "-0001-12-31T23:59:59Z",
            "-9999-01-01T00:00:00Z",
            "+10000-01-01T00:00:00Z",
            "+262142-12-31T23:59:59Z",
            // One hour before or after in UTC.
            "0000-01-01T00:30:00+01:00",
            "9999-12-31T23:30:00-01:00",
        ] {
            assert!(serde_json::from_str::<Timestamp>(&format!("\"{text}\"")).is_err(), "{text}");
        }
        for text in ["0000-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z"] {
            assert!(serde_json::from_str::<Timestamp>(&format!("\"{text}\"")).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_timestamp_round_trips() {
        let now = Timestamp::now();
        let json = serde_json::to_string(&now).unwrap();
        assert_eq!(json.len(), "\"2026-01-31T12:00:00.000Z\"".len(), "{json}");
        assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), now);
    }
}
