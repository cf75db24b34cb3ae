//! Latency histograms and their quantiles.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Longest latency that is recorded exactly, in nanoseconds.
const MAX_NANOSECONDS: u64 = 60_000_000_000;

/// Quantiles in microseconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Quantiles {
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
}

impl Quantiles {
    /// From a histogram of nanoseconds.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
        Self { p50: at(0.5), p99: at(0.99), p999: at(0.999) }
    }
}

/// An empty histogram of nanoseconds with three significant digits.
pub fn histogram() -> Histogram<u64> {
    // Fails only for arguments out of range, and these are constants.
    Histogram::new_with_max(MAX_NANOSECONDS, 3).unwrap_or_else(|_| unreachable!())
}
