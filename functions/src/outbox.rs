//! What is owed to NATS. Written in the transaction that made it due, published after the commit
//! under the row's id, deleted once stored: never lost, and by JetStream's dedupe, or a look into the
//! stream where that is too long ago, never doubled.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use protocol::{
    RoomId, Timestamp, UserId, limits,
    stored::StoredEvent,
    subject::{self, MemberState, REVOKED_BUCKET, Revoked, Shards, Stored},
    token::Role,
};
use service::{
    roomlog::{LogError, RoomLog},
    trace::TraceParent,
};
use uuid::Uuid;

use crate::db::{Database, Tx, on_db, on_tx};

/// How long a request waits for what it owes; `archive` sweeps what took longer.
const PUBLISH_WITHIN: Duration = Duration::from_secs(2);
/// Rows younger than this are still their request's own to publish.
const SWEEP_AFTER: Duration = Duration::from_secs(3);
/// Rows of one sweep.
const SWEEP_AT_ONCE: i64 = 100;
/// Less than JetStream's window, by more than clocks differ and a publish takes.
const SURELY_DEDUPED: TimeDelta = TimeDelta::seconds(limits::DEDUPE_SECONDS as i64 / 2);

/// One message that is owed.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Owed {
    id: Uuid,
    subject: String,
    payload: Vec<u8>,
    traceparent: Option<String>,
}

impl Owed {
    fn new(subject: String, payload: Vec<u8>, trace: TraceParent) -> Self {
        let traceparent = Some(trace.child().to_string());
        Self { id: Uuid::now_v7(), subject, payload, traceparent }
    }

    /// An event of a room.
    pub fn event(shards: Shards, room: RoomId, event: &StoredEvent, trace: TraceParent) -> Self {
        Self::new(subject::stored(shards, room), event.encode(), trace)
    }

    /// A revocation, for every gateway.
    pub fn revocation(revoked: Revoked, trace: TraceParent) -> Self {
        let subject = subject::bucket_put(REVOKED_BUCKET, &revoked.key());
        Self::new(subject, Timestamp::now().to_string().into_bytes(), trace)
    }

    /// What somebody is in a room from this version of it on, for every gateway; nothing any more
    /// without a role.
    pub fn member(
        room: RoomId,
        user: UserId,
        version: u64,
        role: Option<Role>,
        trace: TraceParent,
    ) -> Self {
        let subject = subject::bucket_put(REVOKED_BUCKET, &Revoked::Member(room, user).key());
        Self::new(subject, MemberState { version, role }.encode(), trace)
    }

    /// Writes it down, to be true with the rest of the transaction.
    pub async fn record(&self, tx: &mut Tx) -> sqlx::Result<()> {
        on_tx!(tx, e => sqlx::query(
            "INSERT INTO outbox (id, subject, payload, traceparent, created_at)
             VALUES ($1, $2, $3, $4, $5)"
        )
        .bind(self.id)
        .bind(&self.subject)
        .bind(&self.payload)
        .bind(&self.traceparent)
        .bind(Utc::now())
        .execute(e))
        .map(drop)
    }
}

/// Publishes after the commit, behind what is still owed on the same subjects: what happened to one
/// room or member is told in its order. Fails silently for the caller: the rows stay and are swept.
pub async fn publish(database: &Database, log: &RoomLog, owed: &[Owed]) {
    let all = async {
        for one in owed {
            let due: Vec<Due> = on_db!(database, e => sqlx::query_as(
                "SELECT id, subject, payload, traceparent, created_at FROM outbox
                 WHERE subject = $1 AND id <= $2 ORDER BY id LIMIT $3"
            ).bind(&one.subject).bind(one.id).bind(SWEEP_AT_ONCE).fetch_all(e))?;
            for due in &due {
                settle(database, log, due).await?;
            }
        }
        anyhow::Ok(())
    };
    match tokio::time::timeout(PUBLISH_WITHIN, all).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the outbox keeps what NATS did not take"),
        Err(_) => tracing::warn!("the outbox keeps what NATS did not take in time"),
    }
}

/// What is owed and when it came to be so.
#[derive(sqlx::FromRow)]
struct Due {
    #[sqlx(flatten)]
    owed: Owed,
    created_at: DateTime<Utc>,
}

async fn settle(database: &Database, log: &RoomLog, due: &Due) -> anyhow::Result<()> {
    let Owed { id, subject, payload, traceparent } = &due.owed;
    if !was_published(log, due).await? {
        let trace = traceparent.as_deref().and_then(|text| text.parse().ok());
        let payload = payload.clone().into();
        let pending = log.publish(subject.clone(), &id.to_string(), payload, trace).await?;
        pending.stored().await?;
    }
    let mut tx = database.begin().await?;
    on_tx!(&mut tx, e => sqlx::query("DELETE FROM outbox WHERE id = $1").bind(id).execute(e))?;
    tx.commit().await?;
    Ok(())
}

/// JetStream finds a second publish of the same id for as long as its window. What has been owed for
/// longer may have been published by somebody who died before they deleted the row: then it is in the
/// stream. Only the room's events must not be doubled; a key that is put twice is put once.
async fn was_published(log: &RoomLog, due: &Due) -> anyhow::Result<bool> {
    let Some(Stored::Event(room)) = Stored::parse(&due.owed.subject) else { return Ok(false) };
    if Utc::now() - due.created_at < SURELY_DEDUPED {
        return Ok(false);
    }
    // Clocks of two machines differ by less.
    let since = due.created_at - TimeDelta::minutes(1);
    Ok(log.has(room, &due.owed.id.to_string(), since.into()).await?)
}

/// Publishes what requests left behind, oldest first. Returns how many.
pub async fn sweep(database: &Database, log: &RoomLog) -> anyhow::Result<usize> {
    let before = Utc::now() - SWEEP_AFTER;
    let left: Vec<Due> = on_db!(database, e => sqlx::query_as(
        "SELECT id, subject, payload, traceparent, created_at FROM outbox
         WHERE created_at < $1 ORDER BY id LIMIT $2"
    ).bind(before).bind(SWEEP_AT_ONCE).fetch_all(e))?;
    let mut swept = 0;
    for due in &left {
        match settle(database, log, due).await {
            Ok(()) => swept += 1,
            // One full stream keeps nothing from the others: revocations above all.
            Err(error) if is_full(&error) => {
                tracing::warn!(subject = due.owed.subject, "{error}");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(swept)
}

fn is_full(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(LogError::Full))
}
