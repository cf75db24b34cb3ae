//! Rate limits of one socket, kept in memory.

use std::time::Instant;

use protocol::rate::Rate;

/// A rate limiter: the usage of a [`Rate`] by one socket.
#[derive(Debug)]
pub struct RateLimiter {
    /// The zero of `arrival`.
    began: Instant,
    /// The arrival time of [`Rate::charge`]: microseconds since `began`.
    arrival: i64,
}

impl RateLimiter {
    /// A limiter with the full burst available.
    pub fn new(now: Instant) -> Self {
        Self { began: now, arrival: 0 }
    }

    /// Counts one event. Returns false, and does not count it, if it exceeds the limit. `None` means no limit.
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
