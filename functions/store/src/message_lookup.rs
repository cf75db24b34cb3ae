//! Finds a message that was sent before, so that a retry does not store it twice, however late it arrives. Messages
//! are identified by room, author and id.
//!
//! JetStream's dedupe finds retries within its window of 10 minutes. For a retry that may be older, the message is
//! looked up before it is published: in the database, and in the stream after the room's watermark.

mod responder;

use chrono::{DateTime, Utc};
use protocol::{
    MessageId, RoomId, Seq, Timestamp, UserId, message_lookup::FirstStored, stored::StoredEvent,
};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

pub use self::responder::answer;
use crate::{
    Store, StoreError,
    db::{self, Database, on_db},
};

/// Events of one read from the stream.
const BATCH: usize = 256;

#[derive(sqlx::FromRow)]
struct ArchivedRow {
    #[sqlx(try_from = "i64")]
    archived_seq: Seq,
    seq: Option<i64>,
    at: Option<DateTime<Utc>>,
}

/// The archive's answer for an existing room.
struct ArchiveLookup {
    /// The room's watermark.
    archived_seq: Seq,
    first: Option<FirstStored>,
}

/// Looks the message up in the database, where a deleted message is found too. None if the room does not exist.
async fn find_archived(
    database: &Database,
    room: RoomId,
    author: UserId,
    id: MessageId,
) -> sqlx::Result<Option<ArchiveLookup>> {
    let found: Option<ArchivedRow> = on_db!(database, e => sqlx::query_as(
        "SELECT COALESCE(l.archived_seq, 0) AS archived_seq, m.seq, m.at
         FROM room r LEFT JOIN room_log l ON l.room_id = r.id
         LEFT JOIN message m ON m.room_id = r.id AND m.author_id = $2 AND m.id = $3
         WHERE r.id = $1"
    ).bind(room.as_uuid()).bind(author.as_uuid()).bind(id.as_uuid()).fetch_optional(e))?;
    let Some(ArchivedRow { archived_seq, seq, at }) = found else { return Ok(None) };
    let first = db::optional_seq(seq)?.zip(at);
    let first = first.map(|(seq, at)| FirstStored { seq, at: at.into() });
    Ok(Some(ArchiveLookup { archived_seq, first }))
}

/// Where the message was stored first, if it was. The watermark is read by the same statement as the message and
/// before the stream, so no event is missed between the two.
pub async fn find(
    Store { database, log }: &Store,
    room: RoomId,
    author: UserId,
    id: MessageId,
) -> Result<Option<FirstStored>, StoreError> {
    let Some(archive) = find_archived(database, room, author, id).await? else { return Ok(None) };
    if archive.first.is_some() {
        return Ok(archive.first);
    }
    let mut from = archive.archived_seq;
    loop {
        let entries = log.after(room, from, BATCH).await?;
        for entry in &entries {
            from = entry.seq;
            match StoredEvent::decode(&entry.payload) {
                Ok(StoredEvent::ReceiveMsg(message))
                    if message.id == id && message.from.id == author =>
                {
                    return Ok(Some(FirstStored { seq: entry.seq, at: message.at }));
                }
                // The archive logs events that cannot be decoded.
                Ok(_) | Err(_) => {}
            }
        }
        if entries.len() < BATCH {
            return Ok(None);
        }
    }
}

/// The lookup before a message is published by HTTP. A fresh id is looked up in the database only, because
/// JetStream's dedupe covers the last minutes. One index read is cheap, and it also finds the retry of a client whose
/// clock is far ahead.
pub async fn find_before_publish(
    store: &Store,
    room: RoomId,
    author: UserId,
    id: MessageId,
    now: Timestamp,
) -> Result<Option<FirstStored>, StoreError> {
    if id.is_fresh(now) {
        let archive = find_archived(&store.database, room, author, id).await?;
        return Ok(archive.and_then(|archive| archive.first));
    }
    find(store, room, author, id).await
}

/// Which of these messages are archived with a seq of at most `until`.
pub async fn archived_among(
    database: &Database,
    room: RoomId,
    until: Seq,
    sent: &[(UserId, MessageId)],
) -> sqlx::Result<Vec<(UserId, MessageId)>> {
    if sent.is_empty() {
        return Ok(Vec::new());
    }
    // A list of pairs of any length has no form that both databases accept.
    let pairs = (0..sent.len()).map(|index| format!("(${}, ${})", index * 2 + 3, index * 2 + 4));
    let pairs = pairs.collect::<Vec<_>>().join(", ");
    let statement = format!(
        "SELECT author_id, id FROM message
         WHERE room_id = $1 AND seq <= $2 AND (author_id, id) IN (VALUES {pairs})"
    );
    let ids = sent.iter().flat_map(|(author, id)| [author.as_uuid(), id.as_uuid()]);
    let found: Vec<(Uuid, Uuid)> = on_db!(database, e => {
        let query = sqlx::query_as(AssertSqlSafe(statement)).bind(room.as_uuid()).bind(i64::from(until));
        // Not prepared, because each number of messages is another statement.
        ids.fold(query, |query, id| query.bind(id)).persistent(false).fetch_all(e)
    })?;
    Ok(found.into_iter().map(|(author, id)| (author.into(), id.into())).collect())
}
