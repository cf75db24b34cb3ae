//! Limits per hour that hold across all instances, because they are counted in the database.
//!
//! The rule is that of [`Rate`]: a key may use its hourly allowance at once, and gets it back evenly over the hour.
//! One row per key holds its arrival time in milliseconds, changed by one statement.

use std::{net::IpAddr, time::Duration};

use chrono::Utc;
use protocol::{UserId, rate::Rate};

use crate::{
    StoreError, Throttled,
    db::{Database, Tx, on_tx},
    throttle::{FIRST_WAIT, key, network},
};

const WINDOW: Duration = Duration::from_secs(3600);
/// Microseconds, which [`Rate`] counts in, of a millisecond, which the table counts in.
const MICROS: i64 = 1_000;

/// One thing that is limited, for one client or user.
pub struct RateLimit {
    key: Vec<u8>,
    rate: Option<Rate>,
}

impl RateLimit {
    /// Sign-ups of one client network, successful or not: a refused one costs a look-up and tells which names exist.
    pub fn sign_ups(per_hour: u32, from: IpAddr) -> Self {
        let key = key(&[b"sign-up", &network(from)]);
        Self { key, rate: hourly(per_hour) }
    }

    /// Passwords that one user sets, of rooms or their own: each costs a hash.
    pub fn new_passwords(per_hour: u32, by: UserId) -> Self {
        let key = key(&[b"new-password", by.as_uuid().as_bytes()]);
        Self { key, rate: hourly(per_hour) }
    }

    /// Counts one request in a transaction of its own.
    pub async fn check(&self, database: &Database) -> Result<(), StoreError> {
        if self.rate.is_none() {
            return Ok(());
        }
        let mut tx = database.begin().await?;
        self.admit(&mut tx).await?;
        Ok(tx.commit().await?)
    }

    /// Counts one request, or refuses it without counting it.
    pub async fn admit(&self, tx: &mut Tx) -> Result<(), StoreError> {
        let Some(rate) = self.rate else { return Ok(()) };
        let now = Utc::now().timestamp_millis();
        let admitted: Option<i64> = on_tx!(tx, e => sqlx::query_scalar(
            "INSERT INTO rate_limit AS r (key, allowed_at) VALUES ($1, $2 + $3)
             ON CONFLICT (key) DO UPDATE SET
               allowed_at = CASE WHEN r.allowed_at > $2 THEN r.allowed_at ELSE $2 END + $3
             WHERE r.allowed_at <= $4
             RETURNING allowed_at"
        )
        .bind(&self.key)
        .bind(now)
        .bind((rate.interval() / MICROS).max(1))
        .bind(rate.latest(now * MICROS) / MICROS)
        .fetch_optional(e))?;
        if admitted.is_some() {
            return Ok(());
        }
        let allowed_at: Option<i64> = on_tx!(tx, e => sqlx::query_scalar(
            "SELECT allowed_at FROM rate_limit WHERE key = $1"
        ).bind(&self.key).fetch_optional(e))?;
        metrics::counter!("rate_limited_requests_total").increment(1);
        Err(Throttled { wait: wait(allowed_at.unwrap_or(now), rate, now) }.into())
    }
}

/// 0: no limit.
fn hourly(count: u32) -> Option<Rate> {
    Rate::new(f64::from(count) / WINDOW.as_secs_f64(), count)
}

/// How long to wait until one more request is admitted. A clock that was wrong makes nobody wait for longer than the
/// window.
fn wait(allowed_at: i64, rate: Rate, now: i64) -> Duration {
    let wait = rate.wait(allowed_at.saturating_mul(MICROS), now.saturating_mul(MICROS));
    wait.clamp(FIRST_WAIT, WINDOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_ends_when_one_more_fits() {
        // Two per hour, both used just now: one comes back after half an hour.
        let (now, rate) = (1_000_000_000, hourly(2).unwrap());
        let window = WINDOW.as_millis() as i64;
        assert_eq!(wait(now + window, rate, now), WINDOW / 2);
        assert_eq!(wait(now + window / 2, rate, now), FIRST_WAIT);
        // A clock that was wrong makes nobody wait for longer than the window.
        assert_eq!(wait(i64::MAX / 2, rate, now), WINDOW);
    }
}
