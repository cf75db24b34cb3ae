//! The transactional outbox: messages to NATS that a transaction causes. A row is written in that transaction,
//! published after the commit with the row's id as `Nats-Msg-Id`, and deleted once NATS has stored the message. So no
//! message is lost, and none is stored twice: JetStream dedupes within its window, and an older row is first looked up
//! in the stream.
//!
//! There are two kinds of messages, each with its own path. **Events** of rooms go to the bounded stream, in order per
//! subject. **Revocations** go to the key-value bucket in any order, because they carry versions or are final. A full
//! or slow event stream must not delay a revocation: one path waits for the other for `OTHER_PATH_TIMEOUT` at most,
//! and each has its own deadline.

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

/// How long a request waits until its messages of one kind are stored. The archive sweeps the rest.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(2);
/// How long one path waits for the other. The event of a removal should be stored before the revocation removes the
/// member's sockets from the room, so that they still receive it. The ban does not depend on it.
const OTHER_PATH_TIMEOUT: Duration = Duration::from_millis(250);
/// Rows of one subject that one request or sweep publishes.
const ROWS_PER_SUBJECT: i64 = 100;
/// Bound of concurrent publishes.
const MAX_CONCURRENT: usize = 16;
/// Up to this age of a row, JetStream surely dedupes a second publish. Half of its dedupe window: the other half is
/// for the difference of clocks and the duration of a publish.
const DEDUPED_FOR: TimeDelta = TimeDelta::seconds(limits::DEDUPE_SECONDS as i64 / 2);

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
        let traceparent = Some(trace.to_string());
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

    /// A user's role in a room, or that they are not a member, from a version of the room on. For every gateway.
    pub(crate) fn member(
        room: RoomId,
        user: UserId,
        state: MemberState,
        trace: TraceParent,
    ) -> Self {
        let subject = subject::bucket_put(REVOKED_BUCKET, &Revoked::Member(room, user).key());
        Self::new(subject, state.encode(), true, trace)
    }

    /// Deletes a removed file's key from the bucket, so that gateways refuse messages with the file.
    pub fn file_removed(room: RoomId, file: FileId, trace: TraceParent) -> Self {
        let subject = subject::bucket_put(FILES_BUCKET, &subject::file_key(room, file));
        Self::new(subject, Vec::new(), true, trace)
    }

    /// Writes the row. Only the archive calls this outside of [`crate::Transaction`], for messages that its next sweep
    /// publishes.
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

/// Publishes after the commit. An event is published after older rows of its subject, so that the events of a room
/// keep their order. Failures are only logged: the rows stay and are swept.
///
/// The kind of the first message is published first, unless that takes longer than `OTHER_PATH_TIMEOUT`.
pub(crate) async fn publish(database: &Database, log: &RoomLog, messages: &[OutboxMessage]) {
    let first_event = messages.iter().position(|message| !message.revokes);
    let first_event = first_event.unwrap_or(messages.len());
    let (leading, rest) = messages.split_at(first_event);
    let (trailing, events): (Vec<&OutboxMessage>, Vec<&OutboxMessage>) =
        rest.iter().partition(|message| message.revokes);
    let leading = in_time(publish_revocations(database, log, leading.iter().collect())).shared();
    let events = async {
        let _ = tokio::time::timeout(OTHER_PATH_TIMEOUT, leading.clone()).await;
        in_time(publish_events(database, log, events)).await;
    };
    let events = events.shared();
    let trailing = async {
        let _ = tokio::time::timeout(OTHER_PATH_TIMEOUT, events.clone()).await;
        in_time(publish_revocations(database, log, trailing)).await;
    };
    tokio::join!(leading.clone(), events.clone(), trailing);
}

async fn in_time(publishing: impl Future<Output = ()>) {
    if tokio::time::timeout(PUBLISH_TIMEOUT, publishing).await.is_err() {
        tracing::warn!("NATS did not store messages in time; they stay in the outbox");
    }
}

/// Publishes revocations concurrently: the failure of one does not stop the others.
async fn publish_revocations(database: &Database, log: &RoomLog, messages: Vec<&OutboxMessage>) {
    let publishing: Vec<_> =
        messages.into_iter().map(|message| publish_revocation(database, log, message)).collect();
    stream::iter(publishing).buffer_unordered(MAX_CONCURRENT).collect::<()>().await;
}

async fn publish_revocation(database: &Database, log: &RoomLog, message: &OutboxMessage) {
    let published = async {
        store(log, message).await?;
        delete(database, message.id).await
    };
    if let Err(error) = published.await {
        tracing::warn!(%error, subject = message.subject, "a revocation stays in the outbox");
    }
}

/// Publishes events, each after older rows of its subject. A subject that fails does not stop the others.
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
    let rows: Vec<OutboxRow> = on_db!(database, e => sqlx::query_as(
        "SELECT id, subject, payload, traceparent, revokes, created_at FROM outbox
         WHERE NOT revokes AND subject = $1 AND id <= $2 ORDER BY id LIMIT $3"
    ).bind(&event.subject).bind(event.id).bind(ROWS_PER_SUBJECT).fetch_all(e))?;
    for row in &rows {
        publish_and_delete(database, log, row).await?;
    }
    Ok(())
}

/// A message with the time when its row was written.
#[derive(sqlx::FromRow)]
struct OutboxRow {
    #[sqlx(flatten)]
    message: OutboxMessage,
    created_at: DateTime<Utc>,
}

async fn publish_and_delete(
    database: &Database,
    log: &RoomLog,
    row: &OutboxRow,
) -> anyhow::Result<()> {
    if !was_published(log, row).await? {
        store(log, &row.message).await?;
    }
    delete(database, row.message.id).await
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

/// Whether the stream holds an event that JetStream would no longer dedupe: a process may have published it and died
/// before it deleted the row. Only events are looked up, because to put a key twice has no effect.
async fn was_published(log: &RoomLog, row: &OutboxRow) -> anyhow::Result<bool> {
    let Some(Stored::Event(room)) = Stored::parse(&row.message.subject) else { return Ok(false) };
    if Utc::now() - row.created_at < DEDUPED_FOR {
        return Ok(false);
    }
    // A margin, because the clocks of two machines differ.
    let since = row.created_at - TimeDelta::minutes(1);
    Ok(log.has(room, &row.message.id.to_string(), since.into()).await?)
}
