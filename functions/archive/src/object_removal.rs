//! Deletes objects whose database rows were removed. Each is deleted twice: at once, and again after the last
//! presigned upload of it can have ended, because that upload would create the object again.

use std::time::Duration;

use chrono::{DateTime, Utc};
use store::{
    db::{Database, on_db, on_tx},
    storage::{PRESIGNED_FOR, Storage},
};

use super::failures::Failures;

/// Objects deleted by one sweep.
const MAX_OBJECTS: i64 = 50;
/// When the last presigned upload has ended: one may start just before its URL expires.
const UPLOADS_END_AFTER: Duration = PRESIGNED_FOR.saturating_add(Duration::from_secs(60));

/// When a failed deletion is retried. Until then other objects come first.
const RETRY_AFTER: Duration = Duration::from_secs(60);

#[derive(sqlx::FromRow)]
struct DoomedObject {
    object_key: String,
    /// When the second deletion is due; none before the first one succeeded.
    due_at: Option<DateTime<Utc>>,
}

/// Deletes some objects. A failure does not stop the others.
pub async fn remove(database: &Database, storage: &Storage) -> anyhow::Result<()> {
    let doomed: Vec<DoomedObject> = on_db!(database, e => sqlx::query_as(
        "SELECT object_key, due_at FROM doomed_object
         WHERE COALESCE(due_at, doomed_at) < $1 ORDER BY COALESCE(due_at, doomed_at) LIMIT $2"
    ).bind(Utc::now()).bind(MAX_OBJECTS).fetch_all(e))?;
    let mut failures = Failures::default();
    for doomed in doomed {
        failures.record(remove_one(database, storage, doomed).await);
    }
    failures.into_result()
}

async fn remove_one(
    database: &Database,
    storage: &Storage,
    doomed: DoomedObject,
) -> anyhow::Result<()> {
    let DoomedObject { object_key, due_at } = doomed;
    let removed = storage.delete_all(&object_key).await;
    let retry_at = Utc::now() + RETRY_AFTER;
    let mut tx = database.begin().await?;
    match (&removed, due_at) {
        (Err(_), None) => on_tx!(&mut tx, e => sqlx::query(
            "UPDATE doomed_object SET doomed_at = $2 WHERE object_key = $1"
        ).bind(&object_key).bind(retry_at).execute(e))?,
        (Err(_), Some(_)) => on_tx!(&mut tx, e => sqlx::query(
            "UPDATE doomed_object SET due_at = $2 WHERE object_key = $1"
        ).bind(&object_key).bind(retry_at).execute(e))?,
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
