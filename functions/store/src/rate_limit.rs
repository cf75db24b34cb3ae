//! Limits per hour that hold across all instances, because they are counted in the database.
//!
//! The generic cell rate algorithm: a key may use its hourly allowance at once, and gets it back evenly over the
//! hour. One row per key with one timestamp, changed by one statement.

use std::{net::IpAddr, time::Duration};

use chrono::Utc;
use protocol::UserId;

use crate::{
    StoreError,
    db::{Database, Tx, on_tx},
    throttle::{FIRST_WAIT, Throttled, key, network},
};

const WINDOW: Duration = Duration::from_secs(3600);
const WINDOW_MS: i64 = WINDOW.as_millis() as i64;

/// One thing that is limited, for one client or user.
pub struct RateLimit {
    key: Vec<u8>,
    /// 0: no limit.
    per_hour: u32,
}

impl RateLimit {
    /// Sign-ups of one client network, successful or not: a refused one costs a look-up and tells which names exist.
    pub fn sign_ups(per_hour: u32, from: IpAddr) -> Self {
        let key = key(&[b"sign-up", &network(from)]);
        Self { key, per_hour }
    }

    /// Passwords that one user sets, of rooms or their own: each costs a hash.
    pub fn new_passwords(per_hour: u32, by: UserId) -> Self {
        let key = key(&[b"new-password", by.as_uuid().as_bytes()]);
        Self { key, per_hour }
    }

    /// Counts one request in a transaction of its own.
    pub async fn check(&self, database: &Database) -> Result<(), StoreError> {
        if self.per_hour == 0 {
            return Ok(());
        }
        let mut tx = database.begin().await?;
        self.admit(&mut tx).await?;
        Ok(tx.commit().await?)
    }

    /// Counts one request, or refuses it without counting it.
    pub async fn admit(&self, tx: &mut Tx) -> Result<(), StoreError> {
        if self.per_hour == 0 {
            return Ok(());
        }
        let now = Utc::now().timestamp_millis();
        let interval = (WINDOW_MS / i64::from(self.per_hour)).max(1);
        let admitted: Option<i64> = on_tx!(tx, e => sqlx::query_scalar(
            "INSERT INTO rate_limit AS r (key, allowed_at) VALUES ($1, $2 + $3)
             ON CONFLICT (key) DO UPDATE SET
               allowed_at = CASE WHEN r.allowed_at > $2 THEN r.allowed_at ELSE $2 END + $3
             WHERE r.allowed_at + $3 <= $2 + $4
             RETURNING allowed_at"
        )
        .bind(&self.key)
        .bind(now)
        .bind(interval)
        .bind(WINDOW_MS)
        .fetch_optional(e))?;
        if admitted.is_some() {
            return Ok(());
        }
        let allowed_at: Option<i64> = on_tx!(tx, e => sqlx::query_scalar(
            "SELECT allowed_at FROM rate_limit WHERE key = $1"
        ).bind(&self.key).fetch_optional(e))?;
        metrics::counter!("rate_limited_requests_total").increment(1);
        Err(Throttled { wait: wait(allowed_at.unwrap_or(now), interval, now) }.into())
    }
}

/// Until one more request fits into the window.
fn wait(allowed_at: i64, interval: i64, now: i64) -> Duration {
    let millis = (allowed_at + interval - WINDOW_MS - now).clamp(0, WINDOW_MS);
    Duration::from_millis(millis.unsigned_abs()).max(FIRST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_ends_when_one_more_fits() {
        // Two per hour, both used just now: one comes back after half an hour.
        let (now, interval) = (1_000_000_000, WINDOW_MS / 2);
        assert_eq!(wait(now + WINDOW_MS, interval, now), WINDOW / 2);
        assert_eq!(wait(now + WINDOW_MS - interval, interval, now), FIRST_WAIT);
        // A clock that was wrong makes nobody wait for longer than the window.
        assert_eq!(wait(i64::MAX / 2, interval, now), WINDOW);
    }
}
