//! Publishes rows that their requests left behind: first revocations, then events, each within its own deadline. A row
//! that cannot be published blocks few others: a failed revocation is skipped, and a failed event stops its own
//! subject only.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, stream};
use service::roomlog::RoomLog;
use tokio::{sync::Mutex, time::Instant};
use uuid::Uuid;

use super::{MAX_CONCURRENT, OutboxRow, ROWS_PER_SUBJECT, publish_and_delete};
use crate::db::{Database, on_db};

/// Minimal age of swept rows: requests are still publishing younger ones.
const SWEEP_AFTER: Duration = Duration::from_secs(3);
/// Time limit of one sweep for each kind, so that the archive's other sweeps are not delayed for long.
const SWEEP_TIMEOUT: Duration = Duration::from_secs(3);
/// Revocations or subjects of one page.
const PAGE: i64 = 100;
/// The metric counts no more rows than this, so that a full outbox does not cost a scan.
const MAX_COUNTED: i64 = 1_000;

/// The state of sweeping between two sweeps.
#[derive(Default)]
pub struct Sweeper {
    /// The subject at which the last sweep ran out of time. The next one begins after it, so that every subject has
    /// its turn.
    reached: Mutex<Option<String>>,
}

impl Sweeper {
    /// Publishes the rows that are left. Returns how many were published. Fails only if the database does; failed
    /// publishes are logged.
    pub async fn sweep(&self, database: &Database, log: &RoomLog) -> anyhow::Result<u64> {
        let before = DateTime::<Utc>::from(std::time::SystemTime::now() - SWEEP_AFTER);
        // A failure of the revocations must not stop the events.
        let revocations = sweep_revocations(database, log, before).await;
        let events = self.sweep_events(database, log, before).await;
        let measured = measure(database).await;
        let swept = revocations? + events?;
        measured?;
        Ok(swept)
    }

    /// Visits all subjects that have rows, beginning where the last sweep stopped.
    async fn sweep_events(
        &self,
        database: &Database,
        log: &RoomLog,
        before: DateTime<Utc>,
    ) -> anyhow::Result<u64> {
        let deadline = Instant::now() + SWEEP_TIMEOUT;
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
            let publishing: Vec<_> = subjects
                .iter()
                .map(|subject| sweep_subject(database, log, subject, before))
                .collect();
            let publishing = stream::iter(publishing).buffer_unordered(MAX_CONCURRENT);
            swept += publishing.fold(0, |sum, swept| async move { sum + swept }).await;
            after = last;
            if Instant::now() >= deadline {
                *reached = Some(after);
                return Ok(swept);
            }
        }
    }
}

/// The next subjects with events. A recursive query jumps from subject to subject in the index, because each may have
/// any number of rows.
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

/// Publishes the events of one subject in order, up to the first that fails. Returns how many were published.
async fn sweep_subject(
    database: &Database,
    log: &RoomLog,
    subject: &str,
    before: DateTime<Utc>,
) -> u64 {
    let mut swept = 0;
    let sweeping = async {
        let rows: Vec<OutboxRow> = on_db!(database, e => sqlx::query_as(
            "SELECT id, subject, payload, traceparent, revokes, created_at FROM outbox
             WHERE NOT revokes AND subject = $1 AND created_at < $2 ORDER BY id LIMIT $3"
        ).bind(subject).bind(before).bind(ROWS_PER_SUBJECT).fetch_all(e))?;
        for row in &rows {
            publish_and_delete(database, log, row).await?;
            swept += 1;
        }
        anyhow::Ok(())
    };
    match tokio::time::timeout(SWEEP_TIMEOUT, sweeping).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(subject, error = format!("{error:#}"), "events stay in the outbox")
        }
        Err(_) => {
            tracing::warn!(subject, "events were not published in time; they stay in the outbox")
        }
    }
    swept
}

/// Publishes revocations, oldest first. One that fails is skipped until the next sweep. Returns how many were
/// published.
async fn sweep_revocations(
    database: &Database,
    log: &RoomLog,
    before: DateTime<Utc>,
) -> anyhow::Result<u64> {
    let deadline = Instant::now() + SWEEP_TIMEOUT;
    let (mut swept, mut after) = (0, Uuid::nil());
    while Instant::now() < deadline {
        let page: Vec<OutboxRow> = on_db!(database, e => sqlx::query_as(
            "SELECT id, subject, payload, traceparent, revokes, created_at FROM outbox
             WHERE revokes AND id > $1 AND created_at < $2 ORDER BY id LIMIT $3"
        ).bind(after).bind(before).bind(PAGE).fetch_all(e))?;
        let Some(last) = page.last() else { break };
        after = last.message.id;
        let publishing: Vec<_> =
            page.iter().map(|row| sweep_revocation(database, log, row)).collect();
        let publishing = stream::iter(publishing).buffer_unordered(MAX_CONCURRENT);
        swept += publishing.fold(0, |sum, is_done| async move { sum + u64::from(is_done) }).await;
    }
    Ok(swept)
}

/// Returns whether it was published.
async fn sweep_revocation(database: &Database, log: &RoomLog, row: &OutboxRow) -> bool {
    let publishing = publish_and_delete(database, log, row);
    let published = tokio::time::timeout(SWEEP_TIMEOUT, publishing).await;
    let published = published.unwrap_or_else(|_| Err(anyhow::anyhow!("it timed out")));
    if let Err(error) = &published {
        let (subject, error) = (&row.message.subject, format!("{error:#}"));
        tracing::warn!(subject, error, "a revocation stays in the outbox");
    }
    published.is_ok()
}

/// Sets the metrics `chat_outbox_rows` and `chat_outbox_oldest_seconds` of each kind.
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
            on_db!(database, e => sqlx::query_scalar(count).bind(MAX_COUNTED).fetch_one(e))?;
        let oldest: Option<DateTime<Utc>> =
            on_db!(database, e => sqlx::query_scalar(oldest).fetch_optional(e))?;
        let age = oldest.map_or(0, |oldest| (Utc::now() - oldest).num_seconds().max(0));
        metrics::gauge!("chat_outbox_rows", "kind" => kind).set(rows as f64);
        metrics::gauge!("chat_outbox_oldest_seconds", "kind" => kind).set(age as f64);
    }
    Ok(())
}
