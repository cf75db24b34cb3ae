//! Removes rows that have expired: refresh tokens, sessions, login attempts and rate limits.

use chrono::{DateTime, TimeDelta, Utc};
use store::{
    accounts::REFRESH_WITHIN,
    db::{Database, on_tx},
    throttle::FORGET_AFTER,
};

/// Rows of one transaction.
const ROWS: i64 = 2_000;
/// Transactions per table of one run.
const MAX_STEPS: usize = 50;
/// How long an expired refresh token is kept, so that its reuse is still recognised.
const EXPIRED_KEPT_FOR: TimeDelta = TimeDelta::days(1);

/// The parameters of each statement are the time before which a row has expired, and the number of rows.
const REFRESH_TOKENS: &str = "
    DELETE FROM refresh_token WHERE hash IN (SELECT hash FROM refresh_token WHERE expires_at < $1 LIMIT $2)";
const SESSIONS: &str = "
    DELETE FROM session WHERE id IN (
      SELECT id FROM session WHERE COALESCE(used_at, created_at) < $1 LIMIT $2)";
const ATTEMPTS: &str = "
    DELETE FROM attempt WHERE key IN (SELECT key FROM attempt WHERE last_at < $1 LIMIT $2)";
/// The column `allowed_at` holds Unix time in milliseconds, unlike the timestamps of the other tables.
const RATE_LIMITS: &str = "
    DELETE FROM rate_limit WHERE key IN (SELECT key FROM rate_limit WHERE allowed_at < $1 LIMIT $2)";

pub async fn remove(database: &Database) -> sqlx::Result<()> {
    let now = Utc::now();
    remove_before(database, REFRESH_TOKENS, now - EXPIRED_KEPT_FOR).await?;
    remove_before(database, SESSIONS, now - REFRESH_WITHIN - EXPIRED_KEPT_FOR).await?;
    remove_before(database, ATTEMPTS, now - FORGET_AFTER - FORGET_AFTER).await?;
    for _ in 0..MAX_STEPS {
        let mut tx = database.begin().await?;
        let removed = on_tx!(&mut tx, e => sqlx::query(RATE_LIMITS)
            .bind(now.timestamp_millis()).bind(ROWS).execute(e))?;
        tx.commit().await?;
        if removed < ROWS as u64 {
            break;
        }
    }
    Ok(())
}

async fn remove_before(
    database: &Database,
    statement: &'static str,
    before: DateTime<Utc>,
) -> sqlx::Result<()> {
    for _ in 0..MAX_STEPS {
        let mut tx = database.begin().await?;
        let removed = on_tx!(&mut tx, e =>
            sqlx::query(statement).bind(before).bind(ROWS).execute(e))?;
        tx.commit().await?;
        if removed < ROWS as u64 {
            break;
        }
    }
    Ok(())
}
