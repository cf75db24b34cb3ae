//! The transactional outbox: messages to NATS that a transaction causes. A row is written in that
//! transaction, published after the commit with the row's id as `Nats-Msg-Id`, and deleted once NATS has
//! stored it. So no message is lost, and none is stored twice: JetStream dedupes within its window, and a
//! row older than that is looked for in the stream first.
//!
//! Two kinds take two paths. **Events** of rooms go to the bounded stream, in order per subject.
//! **Revocations** go to the key-value bucket, in any order, because they carry versions or are final. A
//! full or slow event stream must not delay a revocation: neither path waits for the other longer than
//! `OTHER_PATH_FIRST_FOR`, and each has its own deadline.

mod sweep;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{FutureExt as _, StreamExt as _, stream};
use protocol::{
    FileId, RoomId, Timestamp, UserId, limits,
    stored::StoredEvent,
    subject::{self, FILES_BUCKET, MemberState, REVOKED_BUCKET, Revoked, Shards, Stored},
};
use service::{roomlog::RoomLog, trace::TraceParent};
use uuid::Uuid;

pub use self::sweep::Sweeper;
use crate::db::{Database, Tx, on_db, on_tx};

/// How long a request waits until its messages of one kind are stored; the archive sweeps the rest.
const PUBLISH_WITHIN: Duration = Duration::from_secs(2);
/// How long one path waits for the other. The event of a removal is stored before the revocation ends the
/// member's sockets, so that they still receive it; a ban does not depend on it.
const OTHER_PATH_FIRST_FOR: Duration = Duration::from_millis(250);
/// Rows of one subject that are published by one request.
const ROWS_OF_A_SUBJECT: i64 = 100;
/// Revocations that are on their way to NATS at the same time.
const SIDE_BY_SIDE: usize = 16;
/// Less than JetStream's window, by more than clocks differ and a publish takes.
const SURELY_DEDUPED: TimeDelta = TimeDelta::seconds(limits::DEDUPE_SECONDS as i64 / 2);

/// A message to NATS, as a row of the outbox.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct OutboxMessage {
    id: Uuid,
    subject: String,
    payload: Vec<u8>,
    traceparent: Option<String>,
    /// False for an event of a room.
    revokes: bool,
}

impl OutboxMessage {
    fn new(subject: String, payload: Vec<u8>, revokes: bool, trace: TraceParent) -> Self {
        let traceparent = Some(trace.child().to_string());
        Self { id: Uuid::now_v7(), subject, payload, traceparent, revokes }
    }

    /// An event of a room.
    pub(crate) fn event(
        shards: Shards,
        room: RoomId,
        event: &StoredEvent,
        trace: TraceParent,
    ) -> Self {
        Self::new(subject::stored(shards, room), event.encode(), false, trace)
    }

    /// A revocation, for every gateway.
    pub(crate) fn revocation(revoked: Revoked, trace: TraceParent) -> Self {
        let subject = subject::bucket_put(REVOKED_BUCKET, &revoked.key());
        Self::new(subject, Timestamp::now().to_string().into_bytes(), true, trace)
    }

    /// What a user is in a room from a version of the room on, for every gateway.
    pub(crate) fn member(
        room: RoomId,
        user: UserId,
        state: MemberState,
        trace: TraceParent,
    ) -> Self {
        let subject = subject::bucket_put(REVOKED_BUCKET, &Revoked::Member(room, user).key());
        Self::new(subject, state.encode(), true, trace)
    }

    /// A file was removed: no message can name it any more.
    pub fn file_removed(room: RoomId, file: FileId, trace: TraceParent) -> Self {
        let subject = subject::bucket_put(FILES_BUCKET, &subject::file_key(room, file));
        Self::new(subject, Vec::new(), true, trace)
    }

    /// Writes the row. Only the archive calls this outside of [`crate::Transaction`], for messages that
    /// its next sweep publishes.
    pub async fn record(&self, tx: &mut Tx) -> sqlx::Result<()> {
        on_tx!(tx, e => sqlx::query(
            "INSERT INTO outbox (id, subject, payload, traceparent, created_at, revokes)
             VALUES ($1, $2, $3, $4, $5, $6)"
        )
        .bind(self.id)
        .bind(&self.subject)
        .bind(&self.payload)
        .bind(&self.traceparent)
        .bind(Utc::now())
        .bind(self.revokes)
        .execute(e))
        .map(drop)
    }
}

/// Publishes after the commit. Events go behind older rows of the same subject, so that the events of a
/// room keep their order. Failures are not the caller's: the rows stay and are swept.
///
/// The kind of the first message is published first, if that takes no longer than `OTHER_PATH_FIRST_FOR`.
pub(crate) async fn publish(database: &Database, log: &RoomLog, messages: &[OutboxMessage]) {
    let first_event = messages.iter().position(|one| !one.revokes).unwrap_or(messages.len());
    let (leading, rest) = messages.split_at(first_event);
    let (trailing, events): (Vec<&OutboxMessage>, Vec<&OutboxMessage>) =
        rest.iter().partition(|one| one.revokes);
    let leading = in_time(revoke(database, log, leading.iter().collect())).shared();
    let events = async {
        let _ = tokio::time::timeout(OTHER_PATH_FIRST_FOR, leading.clone()).await;
        in_time(publish_events(database, log, events)).await;
    };
    let events = events.shared();
    let trailing = async {
        let _ = tokio::time::timeout(OTHER_PATH_FIRST_FOR, events.clone()).await;
        in_time(revoke(database, log, trailing)).await;
    };
    tokio::join!(leading.clone(), events.clone(), trailing);
}

async fn in_time(publishing: impl Future<Output = ()>) {
    if tokio::time::timeout(PUBLISH_WITHIN, publishing).await.is_err() {
        tracing::warn!("NATS did not take messages in time; they stay in the outbox");
    }
}

/// Publishes revocations side by side: the failure of one does not stop the others.
async fn revoke(database: &Database, log: &RoomLog, messages: Vec<&OutboxMessage>) {
    let settling: Vec<_> = messages.into_iter().map(|one| revoke_one(database, log, one)).collect();
    stream::iter(settling).buffer_unordered(SIDE_BY_SIDE).collect::<()>().await;
}

async fn revoke_one(database: &Database, log: &RoomLog, message: &OutboxMessage) {
    let settled = async {
        store(log, message).await?;
        delete(database, message.id).await
    };
    if let Err(error) = settled.await {
        tracing::warn!(%error, subject = message.subject, "a revocation stays in the outbox");
    }
}

/// Publishes events, each behind older rows of its subject. A subject that fails does not stop the
/// others.
async fn publish_events(database: &Database, log: &RoomLog, events: Vec<&OutboxMessage>) {
    for event in events {
        if let Err(error) = publish_up_to(database, log, event).await {
            tracing::warn!(%error, subject = event.subject, "an event stays in the outbox");
        }
    }
}

async fn publish_up_to(
    database: &Database,
    log: &RoomLog,
    event: &OutboxMessage,
) -> anyhow::Result<()> {
    let due: Vec<Due> = on_db!(database, e => sqlx::query_as(
        "SELECT id, subject, payload, traceparent, revokes, created_at FROM outbox
         WHERE NOT revokes AND subject = $1 AND id <= $2 ORDER BY id LIMIT $3"
    ).bind(&event.subject).bind(event.id).bind(ROWS_OF_A_SUBJECT).fetch_all(e))?;
    for due in &due {
        settle(database, log, due).await?;
    }
    Ok(())
}

/// A message and when its row was written.
#[derive(sqlx::FromRow)]
struct Due {
    #[sqlx(flatten)]
    message: OutboxMessage,
    created_at: DateTime<Utc>,
}

async fn settle(database: &Database, log: &RoomLog, due: &Due) -> anyhow::Result<()> {
    if !was_published(log, due).await? {
        store(log, &due.message).await?;
    }
    delete(database, due.message.id).await
}

async fn store(log: &RoomLog, message: &OutboxMessage) -> anyhow::Result<()> {
    let OutboxMessage { id, subject, payload, traceparent, .. } = message;
    let trace = traceparent.as_deref().and_then(|text| text.parse().ok());
    let (subject, payload) = (subject.clone(), payload.clone().into());
    log.publish(subject, &id.to_string(), payload, trace).await?.stored().await?;
    Ok(())
}

async fn delete(database: &Database, id: Uuid) -> anyhow::Result<()> {
    let mut tx = database.begin().await?;
    on_tx!(&mut tx, e => sqlx::query("DELETE FROM outbox WHERE id = $1").bind(id).execute(e))?;
    tx.commit().await?;
    Ok(())
}

/// JetStream finds a second publish of the same id for as long as its window. A row that is
/// older may have been published by a process that died before it deleted the row: then it is in the
/// stream. Only the room's events must not be doubled; a key that is put twice is put once.
async fn was_published(log: &RoomLog, due: &Due) -> anyhow::Result<bool> {
    let Some(Stored::Event(room)) = Stored::parse(&due.message.subject) else { return Ok(false) };
    if Utc::now() - due.created_at < SURELY_DEDUPED {
        return Ok(false);
    }
    // Clocks of two machines differ by less.
    let since = due.created_at - TimeDelta::minutes(1);
    Ok(log.has(room, &due.message.id.to_string(), since.into()).await?)
}
