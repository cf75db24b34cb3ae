//! Publishes rows that their requests left behind: revocations first and apart from events, each within a
//! deadline. No row waits behind one that cannot be published: a failed revocation is skipped, and a
//! failed event stops its own subject only.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, stream};
use service::roomlog::RoomLog;
use tokio::{sync::Mutex, time::Instant};
use uuid::Uuid;

use super::{Due, ROWS_OF_A_SUBJECT, SIDE_BY_SIDE, settle};
use crate::db::{Database, on_db};

/// Younger rows are still being published by their request.
const SWEEP_AFTER: Duration = Duration::from_secs(3);
/// How long one sweep may take for each kind. Less than matters to the sweeps that come after it.
const WITHIN: Duration = Duration::from_secs(3);
/// Revocations read at once, and subjects.
const PAGE: i64 = 100;
/// Up to which rows are counted for the metric: a full outbox must not cost a scan.
const COUNTED: i64 = 1_000;

/// Sweeps the outbox again and again.
#[derive(Default)]
pub struct Sweeper {
    /// The subject at which the last sweep ran out of time: the next one begins after it, so that the
    /// subjects at the end get their turn too.
    reached: Mutex<Option<String>>,
}

impl Sweeper {
    /// Publishes what is left. Returns how many rows are published; an error only where the database
    /// does not answer.
    pub async fn sweep(&self, database: &Database, log: &RoomLog) -> anyhow::Result<u64> {
        let before = DateTime::<Utc>::from(std::time::SystemTime::now() - SWEEP_AFTER);
        // Events are swept whatever becomes of the revocations.
        let revocations = sweep_revocations(database, log, before).await;
        let events = self.sweep_events(database, log, before).await;
        let measured = measure(database).await;
        let swept = revocations? + events?;
        measured?;
        Ok(swept)
    }

    /// Goes through all subjects that have rows, from where the last sweep stopped.
    async fn sweep_events(
        &self,
        database: &Database,
        log: &RoomLog,
        before: DateTime<Utc>,
    ) -> anyhow::Result<u64> {
        let deadline = Instant::now() + WITHIN;
        let mut reached = self.reached.lock().await;
        let start = reached.take().unwrap_or_default();
        let (mut swept, mut after, mut is_wrapped) = (0, start.clone(), start.is_empty());
        loop {
            let mut subjects = subjects(database, &after).await?;
            if is_wrapped && !start.is_empty() {
                subjects.retain(|subject| *subject <= start);
            }
            let Some(last) = subjects.last().cloned() else {
                if is_wrapped {
                    return Ok(swept);
                }
                (after, is_wrapped) = (String::new(), true);
                continue;
            };
            let publishing = subjects.iter().map(|it| sweep_subject(database, log, it, before));
            let publishing: Vec<_> = Iterator::collect(publishing);
            let publishing = stream::iter(publishing).buffer_unordered(SIDE_BY_SIDE);
            swept += publishing.fold(0, |sum, swept| async move { sum + swept }).await;
            after = last;
            if Instant::now() >= deadline {
                *reached = Some(after);
                return Ok(swept);
            }
        }
    }
}

/// The next subjects with events, found one by one in the index: a subject may have any number of
/// rows.
async fn subjects(database: &Database, after: &str) -> sqlx::Result<Vec<String>> {
    on_db!(database, e => sqlx::query_scalar(
        "WITH RECURSIVE next (subject) AS (
           SELECT (SELECT MIN(o.subject) FROM outbox o WHERE NOT o.revokes AND o.subject > $1)
           UNION ALL
           SELECT (SELECT MIN(o.subject) FROM outbox o WHERE NOT o.revokes AND o.subject > next.subject)
           FROM next WHERE next.subject IS NOT NULL
         )
         SELECT subject FROM next WHERE subject IS NOT NULL LIMIT $2"
    ).bind(after).bind(PAGE).fetch_all(e))
}

/// The events of one subject in their order, up to the first that fails.
async fn sweep_subject(
    database: &Database,
    log: &RoomLog,
    subject: &str,
    before: DateTime<Utc>,
) -> u64 {
    let mut swept = 0;
    let sweeping = async {
        let due: Vec<Due> = on_db!(database, e => sqlx::query_as(
            "SELECT id, subject, payload, traceparent, revokes, created_at FROM outbox
             WHERE NOT revokes AND subject = $1 AND created_at < $2 ORDER BY id LIMIT $3"
        ).bind(subject).bind(before).bind(ROWS_OF_A_SUBJECT).fetch_all(e))?;
        for due in &due {
            settle(database, log, due).await?;
            swept += 1;
        }
        anyhow::Ok(())
    };
    match tokio::time::timeout(WITHIN, sweeping).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(subject, error = format!("{error:#}"), "events stay in the outbox")
        }
        Err(_) => tracing::warn!(subject, "events could not be published in time"),
    }
    swept
}

/// Revocations, oldest first; one that fails is passed over until the next sweep.
async fn sweep_revocations(
    database: &Database,
    log: &RoomLog,
    before: DateTime<Utc>,
) -> anyhow::Result<u64> {
    let deadline = Instant::now() + WITHIN;
    let (mut swept, mut after) = (0, Uuid::nil());
    while Instant::now() < deadline {
        let page: Vec<Due> = on_db!(database, e => sqlx::query_as(
            "SELECT id, subject, payload, traceparent, revokes, created_at FROM outbox
             WHERE revokes AND id > $1 AND created_at < $2 ORDER BY id LIMIT $3"
        ).bind(after).bind(before).bind(PAGE).fetch_all(e))?;
        let Some(last) = page.last() else { break };
        after = last.message.id;
        let settling: Vec<_> =
            page.iter().map(|due| sweep_revocation(database, log, due)).collect();
        let settling = stream::iter(settling).buffer_unordered(SIDE_BY_SIDE);
        swept += settling.fold(0, |sum, is_done| async move { sum + u64::from(is_done) }).await;
    }
    Ok(swept)
}

async fn sweep_revocation(database: &Database, log: &RoomLog, due: &Due) -> bool {
    let settled = tokio::time::timeout(WITHIN, settle(database, log, due)).await;
    let settled = settled.unwrap_or_else(|_| Err(anyhow::anyhow!("not in time")));
    if let Err(error) = &settled {
        let (subject, error) = (&due.message.subject, format!("{error:#}"));
        tracing::warn!(subject, error, "a revocation stays in the outbox");
    }
    settled.is_ok()
}

/// `outbox_rows` and `outbox_oldest_seconds`, of each kind.
async fn measure(database: &Database) -> anyhow::Result<()> {
    for (kind, count, oldest) in [
        (
            "event",
            "SELECT COUNT(*) FROM (SELECT id FROM outbox WHERE NOT revokes ORDER BY id LIMIT $1) counted",
            "SELECT created_at FROM outbox WHERE NOT revokes ORDER BY id LIMIT 1",
        ),
        (
            "revocation",
            "SELECT COUNT(*) FROM (SELECT id FROM outbox WHERE revokes ORDER BY id LIMIT $1) counted",
            "SELECT created_at FROM outbox WHERE revokes ORDER BY id LIMIT 1",
        ),
    ] {
        let rows: i64 =
            on_db!(database, e => sqlx::query_scalar(count).bind(COUNTED).fetch_one(e))?;
        let oldest: Option<DateTime<Utc>> =
            on_db!(database, e => sqlx::query_scalar(oldest).fetch_optional(e))?;
        let age = oldest.map_or(0, |oldest| (Utc::now() - oldest).num_seconds().max(0));
        metrics::gauge!("outbox_rows", "kind" => kind).set(rows as f64);
        metrics::gauge!("outbox_oldest_seconds", "kind" => kind).set(age as f64);
    }
    Ok(())
}
