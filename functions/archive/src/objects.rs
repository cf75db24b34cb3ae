//! Objects whose rows are gone leave the storage: at once, and again when the last upload that was
//! signed for them before can have ended.

use std::time::Duration;

use chrono::{DateTime, Utc};
use store::{
    db::{Database, on_db, on_tx},
    storage::{PRESIGNED_FOR, Storage},
};

use super::failures::Failures;

/// Objects removed by one sweep.
const AT_ONCE: i64 = 50;
/// An upload that starts in the last second of its link takes its time.
const UPLOADS_END_AFTER: Duration = PRESIGNED_FOR.saturating_add(Duration::from_secs(60));

/// An object that could not be removed is tried again after this time, behind the others.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

#[derive(sqlx::FromRow)]
struct Doomed {
    object_key: String,
    due_at: Option<DateTime<Utc>>,
}

/// Removes some. One that cannot be removed waits, and the others do not wait for it.
pub async fn remove(database: &Database, storage: &Storage) -> anyhow::Result<()> {
    let doomed: Vec<Doomed> = on_db!(database, e => sqlx::query_as(
        "SELECT object_key, due_at FROM doomed_object
         WHERE COALESCE(due_at, doomed_at) < $1 ORDER BY COALESCE(due_at, doomed_at) LIMIT $2"
    ).bind(Utc::now()).bind(AT_ONCE).fetch_all(e))?;
    let mut failures = Failures::default();
    for doomed in doomed {
        failures.note(remove_one(database, storage, doomed).await);
    }
    failures.into_result()
}

async fn remove_one(database: &Database, storage: &Storage, doomed: Doomed) -> anyhow::Result<()> {
    let Doomed { object_key, due_at } = doomed;
    let removed = storage.delete_all(&object_key).await;
    let again_at = Utc::now() + AGAIN_AFTER;
    let mut tx = database.begin().await?;
    match (&removed, due_at) {
        (Err(_), None) => on_tx!(&mut tx, e => sqlx::query(
            "UPDATE doomed_object SET doomed_at = $2 WHERE object_key = $1"
        ).bind(&object_key).bind(again_at).execute(e))?,
        (Err(_), Some(_)) => on_tx!(&mut tx, e => sqlx::query(
            "UPDATE doomed_object SET due_at = $2 WHERE object_key = $1"
        ).bind(&object_key).bind(again_at).execute(e))?,
        (Ok(()), None) => on_tx!(&mut tx, e => sqlx::query(
            "UPDATE doomed_object SET due_at = $2 WHERE object_key = $1"
        ).bind(&object_key).bind(Utc::now() + UPLOADS_END_AFTER).execute(e))?,
        (Ok(()), Some(_)) => on_tx!(&mut tx, e => sqlx::query(
            "DELETE FROM doomed_object WHERE object_key = $1"
        ).bind(&object_key).execute(e))?,
    };
    tx.commit().await?;
    Ok(removed?)
}
