//! Rate limits of one socket, kept in memory.

use std::time::Instant;

use protocol::rate::Rate;

/// What one socket has used of a [`Rate`].
#[derive(Debug)]
pub struct RateLimiter {
    /// The clock of `arrival` begins here.
    began: Instant,
    /// The arrival time of [`Rate::charge`]: microseconds since `began`.
    arrival: i64,
}

impl RateLimiter {
    /// Nothing is used yet.
    pub fn new(now: Instant) -> Self {
        Self { began: now, arrival: 0 }
    }

    /// Counts one event; false, without counting it, if it is over the limit. `None` is no limit.
    pub fn admit(&mut self, rate: Option<Rate>, now: Instant) -> bool {
        let Some(rate) = rate else { return true };
        let now = now.saturating_duration_since(self.began).as_micros();
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        match rate.charge(self.arrival, now) {
            Ok(arrival) => {
                self.arrival = arrival;
                true
            }
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_limiter_recovers_with_time_up_to_its_burst() {
        let (rate, now) = (Rate::new(10.0, 3), Instant::now());
        let mut limiter = RateLimiter::new(now);
        let mut admitted = |at| (0..9).filter(|_| limiter.admit(rate, at)).count();
        assert_eq!(admitted(now), 3);
        assert_eq!(admitted(now + Duration::from_millis(201)), 2);
        assert_eq!(admitted(now + Duration::from_secs(60)), 3);
    }

    #[test]
    fn a_limit_that_is_switched_off_never_refuses() {
        let (rate, now) = (Rate::new(0.0, 3), Instant::now());
        let mut limiter = RateLimiter::new(now);
        assert!((0..1_000).all(|_| limiter.admit(rate, now)));
    }
}
