//! Token bucket: limits how often something may happen.

use std::time::Instant;

/// A rate limit: `per_second` sustained, `burst` at once.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    pub per_second: f64,
    pub burst: f64,
}

/// The tokens left of one [`Rate`].
#[derive(Debug)]
pub struct TokenBucket {
    tokens: f64,
    at: Instant,
}

impl TokenBucket {
    /// A full bucket.
    pub fn new(rate: Rate, now: Instant) -> Self {
        Self { tokens: rate.burst, at: now }
    }

    /// Takes one token. False if there is none.
    pub fn take(&mut self, rate: Rate, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + elapsed * rate.per_second).min(rate.burst);
        self.at = now;
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_bucket_refills_with_time_up_to_its_burst() {
        let (rate, now) = (Rate { per_second: 10.0, burst: 3.0 }, Instant::now());
        let mut bucket = TokenBucket::new(rate, now);
        let taken = |bucket: &mut TokenBucket, at| (0..9).filter(|_| bucket.take(rate, at)).count();
        assert_eq!(taken(&mut bucket, now), 3);
        assert_eq!(taken(&mut bucket, now + Duration::from_millis(201)), 2);
        assert_eq!(taken(&mut bucket, now + Duration::from_secs(60)), 3);
    }

    #[test]
    fn a_limit_that_is_switched_off_never_refuses() {
        let rate = Rate { per_second: f64::INFINITY, burst: f64::INFINITY };
        let now = Instant::now();
        let mut bucket = TokenBucket::new(rate, now);
        // Infinity times no time is no number; it must not become the number of tokens.
        assert!((0..1_000).all(|_| bucket.take(rate, now)));
    }
}
