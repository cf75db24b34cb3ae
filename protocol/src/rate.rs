//! Rate limits with a burst, by the generic cell rate algorithm (GCRA). The state of a key is one number, the
//! theoretical arrival time of its next event. Gateways keep it in memory, functions in the database. All times
//! are microseconds of one clock.

use std::time::Duration;

use crate::{Code, code::Refusal};

/// A sustained number of events a second, and a burst after a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Microseconds per event.
    interval: i64,
    /// How far the arrival time may be ahead of the clock.
    tolerance: i64,
}

/// The two budgets that limit publishing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Budget {
    /// The budget of a user, over all connections and HTTP.
    User,
    /// The budget of a room, over all users.
    Room,
}

/// An event was refused, because a budget is used up. The next one is admitted after `wait`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}; try again in {} s", .budget.detail(), .wait.as_millis().div_ceil(1_000).max(1))]
pub struct OverBudget {
    pub budget: Budget,
    pub wait: Duration,
}

impl Budget {
    /// The error code of a refusal.
    pub const fn code(self) -> Code {
        match self {
            Self::User => Code::UserRateLimited,
            Self::Room => Code::RoomRateLimited,
        }
    }

    const fn detail(self) -> &'static str {
        match self {
            Self::User => "you send too much, over all your connections",
            Self::Room => "too much is sent to this room",
        }
    }
}

impl From<OverBudget> for Refusal {
    fn from(over: OverBudget) -> Self {
        Self::new(over.budget.code(), over.to_string())
    }
}

impl Rate {
    /// `None`, which means no limit, if the rate or the burst is zero (or the rate is no number).
    pub fn new(per_second: f64, burst: u32) -> Option<Self> {
        if !(per_second > 0.0 && per_second.is_finite()) || burst == 0 {
            return None;
        }
        // Casts saturate. The sum of two clamped values does not overflow.
        let interval = ((1_000_000.0 / per_second) as i64).clamp(1, i64::MAX / 4);
        let tolerance = interval.saturating_mul(i64::from(burst) - 1).min(i64::MAX / 4);
        Some(Self { interval, tolerance })
    }

    /// Microseconds per event.
    pub const fn interval(self) -> i64 {
        self.interval
    }

    /// The latest arrival time with which one more event is admitted at `now`.
    pub const fn latest(self, now: i64) -> i64 {
        now.saturating_add(self.tolerance)
    }

    /// Admits one event and returns the new arrival time, or how long to wait. `arrival` is the current one, or
    /// any value up to `now` for a new key.
    pub fn charge(self, arrival: i64, now: i64) -> Result<i64, Duration> {
        if arrival > self.latest(now) {
            return Err(self.wait(arrival, now));
        }
        Ok(arrival.max(now).saturating_add(self.interval))
    }

    /// How long until an event is admitted.
    pub fn wait(self, arrival: i64, now: i64) -> Duration {
        let over = arrival.saturating_sub(self.latest(now));
        Duration::from_micros(u64::try_from(over).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The times at which an event is admitted.
    fn allowed(rate: Rate, times: &[i64]) -> Vec<i64> {
        let mut arrival = i64::MIN;
        let mut allowed = Vec::new();
        for &now in times {
            if let Ok(next) = rate.charge(arrival, now) {
                arrival = next;
                allowed.push(now);
            }
        }
        allowed
    }

    #[test]
    fn a_burst_then_the_rate() {
        let rate = Rate::new(20.0, 100).unwrap();
        assert_eq!(allowed(rate, &[0; 500]).len(), 100);
        // Ten seconds, with an attempt each millisecond.
        let times: Vec<i64> = (0..10_000).map(|millis| millis * 1_000).collect();
        assert_eq!(allowed(rate, &times).len(), 100 + 199);
    }

    #[test]
    fn a_rate_or_burst_of_zero_is_no_limit() {
        for (rate, burst) in [(0.0, 1), (1.0, 0), (-1.0, 5), (f64::NAN, 5), (f64::INFINITY, 5)] {
            assert_eq!(Rate::new(rate, burst), None, "{rate} {burst}");
        }
    }

    #[test]
    fn a_refusal_has_its_code_and_a_wait_of_at_least_a_second() {
        let over = OverBudget { budget: Budget::Room, wait: Duration::ZERO };
        let refusal = Refusal::from(over);
        assert_eq!(refusal.code, Code::RoomRateLimited);
        assert!(refusal.detail.ends_with("try again in 1 s"), "{refusal}");
    }

    proptest! {
        /// In no period are more events admitted than the burst and the rate allow.
        #[test]
        fn no_period_has_more_than_burst_and_rate(
            per_second in 1_u32..2_000,
            burst in 1_u32..50,
            gaps in proptest::collection::vec(0..20_000_i64, 1..300),
        ) {
            let rate = Rate::new(per_second.into(), burst).unwrap();
            let mut now = 1_000_000_000;
            let times: Vec<i64> = gaps.iter().map(|gap| { now += gap; now }).collect();
            let allowed = allowed(rate, &times);
            for (first, begin) in allowed.iter().enumerate() {
                for (count, end) in (1..).zip(&allowed[first..]) {
                    prop_assert!(count <= i64::from(burst) + (end - begin) / rate.interval());
                }
            }
        }

        /// After exactly the returned wait, and not before, an event is admitted.
        #[test]
        fn the_wait_is_exact(
            per_second in 0.001..2_000.0_f64,
            burst in 1_u32..2_000,
            tries in 1_usize..3_000,
            now in 0..i64::MAX / 4,
        ) {
            let rate = Rate::new(per_second, burst).unwrap();
            let mut arrival = 0;
            for _ in 0..tries {
                match rate.charge(arrival, now) {
                    Ok(next) => arrival = next,
                    Err(wait) => {
                        let wait = wait.as_micros() as i64;
                        prop_assert!(wait > 0);
                        prop_assert!(rate.charge(arrival, now + wait - 1).is_err());
                        prop_assert!(rate.charge(arrival, now + wait).is_ok());
                        return Ok(());
                    }
                }
            }
            prop_assert!(tries <= burst as usize);
        }

        #[test]
        fn no_number_overflows(per_second: f64, burst: u32, arrival: i64, now: i64) {
            if let Some(rate) = Rate::new(per_second, burst) {
                let _ = (rate.charge(arrival, now), rate.wait(arrival, now));
            }
        }
    }
}
