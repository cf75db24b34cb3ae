//! The cursors of the room list.

use chrono::{DateTime, Datelike as _, Utc};
use serde::Deserialize;

/// Years that both databases store.
const YEARS: std::ops::RangeInclusive<i32> = 1..=9_999;

/// The name of the last room of a page. Not a `RoomName`, which refuses some names that earlier versions stored. NUL is
/// refused, because PostgreSQL does not store it.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PositionName(String);

impl TryFrom<String> for PositionName {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        if name.contains('\0') { Err("NUL in a name") } else { Ok(Self(name)) }
    }
}

impl PositionName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The last room of a page: its activity, and its name for rooms that were active at the same time.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "(DateTime<Utc>, PositionName)")]
pub struct ActivityPosition {
    pub active_at: DateTime<Utc>,
    pub name: PositionName,
}

impl TryFrom<(DateTime<Utc>, PositionName)> for ActivityPosition {
    type Error = &'static str;

    fn try_from((active_at, name): (DateTime<Utc>, PositionName)) -> Result<Self, Self::Error> {
        let is_storable = YEARS.contains(&active_at.year());
        is_storable.then_some(Self { active_at, name }).ok_or("the year is out of range")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pagination;

    #[test]
    fn a_cursor_keeps_every_digit_of_a_time_and_refuses_far_years() {
        let decode = |at: &str| {
            pagination::decode::<ActivityPosition>(&pagination::encode(&(at, "lobby"))).ok()
        };
        let exact = "2026-11-30T08:00:00.123456789Z";
        let position = decode(exact).unwrap();
        assert_eq!(serde_json::json!(position.active_at), exact);
        for far in ["-0001-01-01T00:00:00Z", "+10000-01-01T00:00:00Z", "yesterday"] {
            assert_eq!(decode(far), None, "{far}");
        }
    }
}
