//! Erases deleted accounts: takes them out of their rooms, then replaces their name in all messages.

use chrono::{DateTime, TimeDelta, Utc};
use protocol::UserId;
use service::trace::TraceParent;
use store::{
    Store, account_deletion,
    accounts::DELETED_NAME,
    db::{Database, on_db, on_tx},
};
use uuid::Uuid;

use super::failures::Failures;

/// Accounts of one sweep.
const MAX_ACCOUNTS: i64 = 20;
/// Messages renamed by one transaction.
const ROWS: i64 = 2_000;
/// Transactions of one sweep.
const MAX_STEPS: usize = 50;
/// A message may be stored so long after its account was deleted, because clocks differ and requests take time.
const LAST_MESSAGE_WITHIN: TimeDelta = TimeDelta::minutes(1);

/// Continues the erasure. Every message that was stored before `archived` is archived; without that time, names are
/// not replaced yet.
pub async fn erase(store: &Store, archived: Option<DateTime<Utc>>) -> anyhow::Result<()> {
    let database = &store.database;
    let in_rooms: Vec<Uuid> = on_db!(database, e => sqlx::query_scalar(
        "SELECT a.id FROM account a WHERE a.deleted_at IS NOT NULL AND a.erased_at IS NULL
         AND (EXISTS (SELECT 1 FROM member m WHERE m.user_id = a.id)
           OR EXISTS (SELECT 1 FROM room r WHERE r.creator_id = a.id AND r.deleted_at IS NULL))
         LIMIT $1"
    ).bind(MAX_ACCOUNTS).fetch_all(e))?;
    let mut failures = Failures::default();
    for user in in_rooms {
        let (user, trace) = (UserId::from(user), TraceParent::root());
        let left = account_deletion::leave_rooms(store, user, trace).await;
        failures.record(left.map(drop).map_err(anyhow::Error::from));
    }
    let Some(archived) = archived else { return failures.into_result() };
    let unerased: Vec<Uuid> = on_db!(database, e => sqlx::query_scalar(
        "SELECT id FROM account WHERE deleted_at < $1 AND deleted_at IS NOT NULL AND erased_at IS NULL
         ORDER BY deleted_at LIMIT $2"
    ).bind(archived - LAST_MESSAGE_WITHIN).bind(MAX_ACCOUNTS).fetch_all(e))?;
    let mut steps = MAX_STEPS;
    for user in unerased {
        failures.record(erase_name(database, user, &mut steps).await.map_err(anyhow::Error::from));
    }
    failures.into_result()
}

/// Replaces the name within the remaining steps; the next sweep continues.
async fn erase_name(database: &Database, user: Uuid, steps: &mut usize) -> sqlx::Result<()> {
    while rename_messages(database, user).await? {
        let Some(left) = steps.checked_sub(1) else { return Ok(()) };
        *steps = left;
    }
    let mut tx = database.begin().await?;
    on_tx!(&mut tx, e => sqlx::query("UPDATE account SET erased_at = $2 WHERE id = $1")
        .bind(user).bind(Utc::now()).execute(e))?;
    tx.commit().await
}

/// Returns whether there were any.
async fn rename_messages(database: &Database, user: Uuid) -> sqlx::Result<bool> {
    let mut tx = database.begin().await?;
    let renamed = on_tx!(&mut tx, e => sqlx::query(
        "UPDATE message SET author_name = $2 WHERE (room_id, seq) IN (
           SELECT room_id, seq FROM message WHERE author_id = $1 AND author_name <> $2 LIMIT $3)"
    ).bind(user).bind(DELETED_NAME).bind(ROWS).execute(e))?;
    tx.commit().await?;
    Ok(renamed > 0)
}
