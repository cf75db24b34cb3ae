//! What a deleted account leaves behind: its rooms are left, and then its name stands with no message
//! any more. Also: sessions, refresh tokens, failed guesses and rate limits whose time is over.

use chrono::{DateTime, TimeDelta, Utc};
use protocol::UserId;
use service::trace::TraceParent;
use store::{
    Store, account_deletion,
    accounts::{DELETED_NAME, REFRESH_WITHIN},
    db::{Database, on_db, on_tx},
    throttle::FORGET_AFTER,
};
use uuid::Uuid;

use super::failures::Failures;

/// Accounts of one sweep.
const ACCOUNTS: i64 = 20;
/// Rows of one transaction.
const ROWS: i64 = 2_000;
/// Transactions of one sweep.
const STEPS: usize = 50;
/// What was sent just before the account ended is archived by then.
const LAST_WORDS_WITHIN: TimeDelta = TimeDelta::minutes(1);
/// A spent token is known for what it is for so long after its time.
const SPENT_KNOWN_FOR: TimeDelta = TimeDelta::days(1);

/// Goes on with deleted accounts. `archived` is a moment before which all that was sent is archived.
pub async fn erase(store: &Store, archived: Option<DateTime<Utc>>) -> anyhow::Result<()> {
    let database = &store.database;
    let in_rooms: Vec<Uuid> = on_db!(database, e => sqlx::query_scalar(
        "SELECT a.id FROM account a WHERE a.deleted_at IS NOT NULL AND a.erased_at IS NULL
         AND (EXISTS (SELECT 1 FROM member m WHERE m.user_id = a.id)
           OR EXISTS (SELECT 1 FROM room r WHERE r.creator_id = a.id AND r.deleted_at IS NULL))
         LIMIT $1"
    ).bind(ACCOUNTS).fetch_all(e))?;
    let mut failures = Failures::default();
    for user in in_rooms {
        let (user, trace) = (UserId::from(user), TraceParent::root());
        let left = account_deletion::leave_rooms(store, user, trace).await;
        failures.note(left.map(drop).map_err(anyhow::Error::from));
    }
    let Some(archived) = archived else { return failures.into_result() };
    let named: Vec<Uuid> = on_db!(database, e => sqlx::query_scalar(
        "SELECT id FROM account WHERE deleted_at < $1 AND deleted_at IS NOT NULL AND erased_at IS NULL
         ORDER BY deleted_at LIMIT $2"
    ).bind(archived - LAST_WORDS_WITHIN).bind(ACCOUNTS).fetch_all(e))?;
    let mut steps = STEPS;
    for user in named {
        failures.note(erase_name(database, user, &mut steps).await.map_err(anyhow::Error::from));
    }
    failures.into_result()
}

/// Within the steps; the next sweep goes on.
async fn erase_name(database: &Database, user: Uuid, steps: &mut usize) -> sqlx::Result<()> {
    while rename(database, user).await? {
        let Some(left) = steps.checked_sub(1) else { return Ok(()) };
        *steps = left;
    }
    let mut tx = database.begin().await?;
    on_tx!(&mut tx, e => sqlx::query("UPDATE account SET erased_at = $2 WHERE id = $1")
        .bind(user).bind(Utc::now()).execute(e))?;
    tx.commit().await
}

/// Whether there were some.
async fn rename(database: &Database, user: Uuid) -> sqlx::Result<bool> {
    let mut tx = database.begin().await?;
    let renamed = on_tx!(&mut tx, e => sqlx::query(
        "UPDATE message SET author_name = $2 WHERE (room_id, seq) IN (
           SELECT room_id, seq FROM message WHERE author_id = $1 AND author_name <> $2 LIMIT $3)"
    ).bind(user).bind(DELETED_NAME).bind(ROWS).execute(e))?;
    tx.commit().await?;
    Ok(renamed > 0)
}

/// Removes what nobody can use any more.
pub async fn tidy(database: &Database) -> anyhow::Result<()> {
    let now = Utc::now();
    for (statement, before) in [
        (
            "DELETE FROM refresh_token WHERE hash IN (
               SELECT hash FROM refresh_token WHERE expires_at < $1 LIMIT $2)",
            now - SPENT_KNOWN_FOR,
        ),
        (
            "DELETE FROM session WHERE id IN (
               SELECT id FROM session WHERE COALESCE(used_at, created_at) < $1 LIMIT $2)",
            now - REFRESH_WITHIN - SPENT_KNOWN_FOR,
        ),
        (
            "DELETE FROM attempt WHERE key IN (
               SELECT key FROM attempt WHERE last_at < $1 LIMIT $2)",
            now - FORGET_AFTER - FORGET_AFTER,
        ),
    ] {
        for _ in 0..STEPS {
            let mut tx = database.begin().await?;
            let removed = on_tx!(&mut tx, e =>
                sqlx::query(statement).bind(before).bind(ROWS).execute(e))?;
            tx.commit().await?;
            if removed < ROWS as u64 {
                break;
            }
        }
    }
    for _ in 0..STEPS {
        let mut tx = database.begin().await?;
        let removed = on_tx!(&mut tx, e => sqlx::query(
            "DELETE FROM rate_limit WHERE key IN (
               SELECT key FROM rate_limit WHERE allowed_at < $1 LIMIT $2)"
        ).bind(now.timestamp_millis()).bind(ROWS).execute(e))?;
        tx.commit().await?;
        if removed < ROWS as u64 {
            break;
        }
    }
    Ok(())
}
