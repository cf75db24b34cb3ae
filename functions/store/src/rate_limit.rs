//! Hourly rate limits, counted in the database, so that all instances share them.
//!
//! The rule is that of [`Rate`]: a key may use its hourly allowance at once, and gets it back evenly over the hour. A
//! row per key holds its arrival time in milliseconds. One statement reads and changes it.

use std::{net::IpAddr, time::Duration};

use chrono::Utc;
use protocol::{UserId, rate::Rate};

use crate::{
    StoreError, Throttled,
    db::{Database, Tx, on_tx},
    throttle::{FIRST_WAIT, key, network},
};

const WINDOW: Duration = Duration::from_secs(3600);
/// Microseconds per millisecond: [`Rate`] uses microseconds, the table milliseconds.
const MICROS: i64 = 1_000;

/// The limit of one kind of requests, of one client network or user.
pub struct RateLimit {
    key: Vec<u8>,
    rate: Option<Rate>,
}

impl RateLimit {
    /// Sign-ups of one client network. Refused ones count too: they cost a lookup and reveal which names exist.
    pub fn sign_ups(per_hour: u32, from: IpAddr) -> Self {
        let key = key(&[b"sign-up", &network(from)]);
        Self { key, rate: hourly(per_hour) }
    }

    /// Passwords that one user sets, of rooms or of the account. Each costs a hash.
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
        metrics::counter!("chat_rate_limited_requests_total").increment(1);
        Err(Throttled { wait: wait(allowed_at.unwrap_or(now), rate, now) }.into())
    }
}

/// None, which is no limit, for 0.
fn hourly(count: u32) -> Option<Rate> {
    Rate::new(f64::from(count) / WINDOW.as_secs_f64(), count)
}

/// How long to wait until the next request is admitted. At most the window, even if another instance's clock was wrong.
fn wait(allowed_at: i64, rate: Rate, now: i64) -> Duration {
    let wait = rate.wait(allowed_at.saturating_mul(MICROS), now.saturating_mul(MICROS));
    wait.clamp(FIRST_WAIT, WINDOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_ends_when_one_more_fits() {
        // Two per hour, both used just now: the next one is admitted after half an hour.
        let (now, rate) = (1_000_000_000, hourly(2).unwrap());
        let window = WINDOW.as_millis() as i64;
        assert_eq!(wait(now + window, rate, now), WINDOW / 2);
        assert_eq!(wait(now + window / 2, rate, now), FIRST_WAIT);
        // Another instance's clock was wrong.
        assert_eq!(wait(i64::MAX / 2, rate, now), WINDOW);
    }
}
