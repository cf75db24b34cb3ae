//! How full a stream is, and how often it is purged accordingly.

use std::time::Duration;

use service::stream::StreamSize;

/// Interval of the purge.
const EVERY: Duration = Duration::from_secs(5 * 60);
/// Interval while the stream is filling up.
const EVERY_WHEN_FILLING: Duration = Duration::from_secs(10);
/// A stream above this level is filling up.
const FILLING_PERCENT: u64 = 70;
/// A stream above this level is full. It also counts as full when the largest event might not fit.
const FULL_PERCENT: u64 = 90;
const LARGEST_EVENT: u64 = 64 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FillLevel {
    Normal,
    Filling,
    Full,
}

impl FillLevel {
    pub fn of(size: &StreamSize) -> Self {
        let Some(max) = size.max_bytes else { return Self::Normal };
        if size.bytes > max / 100 * FULL_PERCENT || size.bytes + LARGEST_EVENT > max {
            Self::Full
        } else if size.bytes > max / 100 * FILLING_PERCENT {
            Self::Filling
        } else {
            Self::Normal
        }
    }

    /// The time between two purges.
    pub fn interval(self) -> Duration {
        match self {
            Self::Normal => EVERY,
            Self::Filling => EVERY_WHEN_FILLING,
            Self::Full => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_full_when_the_largest_event_does_not_fit() {
        let fill = |bytes, max_bytes| {
            FillLevel::of(&StreamSize { bytes, max_bytes, last_seq: 9.into(), replicas: 1 })
        };
        assert_eq!(fill(u64::MAX, None), FillLevel::Normal);
        let gigabyte = Some(1 << 30);
        assert_eq!(fill(700 << 20, gigabyte), FillLevel::Normal);
        assert_eq!(fill(800 << 20, gigabyte), FillLevel::Filling);
        assert_eq!(fill(1000 << 20, gigabyte), FillLevel::Full);
        assert_eq!(fill(200_000, Some(400_000)), FillLevel::Normal);
        assert_eq!(fill(300_000, Some(400_000)), FillLevel::Filling);
        assert_eq!(fill(336_000, Some(400_000)), FillLevel::Full);
        assert_eq!(fill(1, Some(65_536)), FillLevel::Full);
    }
}
