//! What was sent before: the same id by the same author in the same room is stored once, however late
//! it comes again.
//!
//! JetStream's dedupe finds a retry within its window of 10 minutes. One that may come later is looked
//! for before it is stored: in the database and, past what is archived of the room, in the stream.
//! Gateways have no database and ask by a request on NATS, which [`answer`] answers.

use std::time::Duration;

use async_nats::{Client, Message};
use chrono::{DateTime, Utc};
use futures_util::StreamExt as _;
use protocol::{
    MessageId, RoomId, Seq, Timestamp, UserId,
    message_lookup::{FirstStored, LookupReply, MessageLookup},
    stored::StoredEvent,
    subject::{self, SENT_IN_ALL_ROOMS, SENT_QUEUE},
};
use sqlx::AssertSqlSafe;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    Store, StoreError,
    db::{Database, on_db},
};

/// Events read from the stream by one request to it.
const BATCH: usize = 256;
/// Questions of gateways that one process works on at once: fewer than the database has connections,
/// so that requests get theirs. More wait in the subscription, until those who asked give up.
const QUESTIONS_AT_ONCE: usize = 8;
/// How long one answer may take. Less than a gateway waits for it, so that it hears why.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// After a failure to subscribe, which only a closed connection or refused permissions make.
const SUBSCRIBE_AGAIN_AFTER: Duration = Duration::from_secs(1);

#[derive(sqlx::FromRow)]
struct Found {
    #[sqlx(try_from = "i64")]
    archived_seq: Seq,
    seq: Option<i64>,
    at: Option<DateTime<Utc>>,
}

impl Found {
    fn first(&self) -> Option<FirstStored> {
        let (seq, at) = self.seq.zip(self.at)?;
        Some(FirstStored { seq: seq.try_into().ok()?, at: at.into() })
    }
}

/// The first one of several tries, as far as they are archived; also of a message that was deleted
/// since. None without such a room.
async fn archived(
    database: &Database,
    room: RoomId,
    author: UserId,
    id: MessageId,
) -> sqlx::Result<Option<Found>> {
    on_db!(database, e => sqlx::query_as(
        "SELECT COALESCE(l.archived_seq, 0) AS archived_seq, m.seq, m.at
         FROM room r LEFT JOIN room_log l ON l.room_id = r.id
         LEFT JOIN message m ON m.room_id = r.id AND m.author_id = $2 AND m.id = $3
         WHERE r.id = $1"
    ).bind(room.as_uuid()).bind(author.as_uuid()).bind(id.as_uuid()).fetch_optional(e))
}

/// Where the message was stored first, if it was. How far the room is archived is read together with
/// the archive, before the stream, so nothing falls between the two.
pub async fn find(
    Store { database, log }: &Store,
    room: RoomId,
    author: UserId,
    id: MessageId,
) -> Result<Option<FirstStored>, StoreError> {
    let Some(found) = archived(database, room, author, id).await? else { return Ok(None) };
    if let Some(first) = found.first() {
        return Ok(Some(first));
    }
    let mut from = found.archived_seq;
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
                // What is no event is no message; the archive says so in its log.
                Ok(_) | Err(_) => {}
            }
        }
        if entries.len() < BATCH {
            return Ok(None);
        }
    }
}

/// The same before a message is stored by HTTP. A fresh id is looked for in the database alone, as
/// JetStream knows what came in the last minutes; that costs one look into an index, and finds even a
/// retry of a client whose clock is far ahead.
pub async fn earlier(
    store: &Store,
    room: RoomId,
    author: UserId,
    id: MessageId,
    now: Timestamp,
) -> Result<Option<FirstStored>, StoreError> {
    if id.is_fresh(now) {
        let found = archived(&store.database, room, author, id).await?;
        return Ok(found.and_then(|found| found.first()));
    }
    find(store, room, author, id).await
}

/// Which of these messages are in the archive, at or before a seq.
pub async fn archived_among(
    database: &Database,
    room: RoomId,
    until: Seq,
    sent: &[(UserId, MessageId)],
) -> sqlx::Result<Vec<(UserId, MessageId)>> {
    if sent.is_empty() {
        return Ok(Vec::new());
    }
    let pairs = (0..sent.len()).map(|index| format!("(${}, ${})", index * 2 + 3, index * 2 + 4));
    let pairs = pairs.collect::<Vec<_>>().join(", ");
    let statement = format!(
        "SELECT author_id, id FROM message
         WHERE room_id = $1 AND seq <= $2 AND (author_id, id) IN (VALUES {pairs})"
    );
    let ids = sent.iter().flat_map(|(author, id)| [author.as_uuid(), id.as_uuid()]);
    let found: Vec<(Uuid, Uuid)> = on_db!(database, e => {
        let query = sqlx::query_as(AssertSqlSafe(statement)).bind(room.as_uuid()).bind(i64::from(until));
        // One statement for each number of messages: not worth to be prepared.
        ids.fold(query, |query, id| query.bind(id)).persistent(false).fetch_all(e)
    })?;
    Ok(found.into_iter().map(|(author, id)| (author.into(), id.into())).collect())
}

/// Answers gateways until `shutdown`. All processes that answer form one queue group, so each question
/// is answered once.
pub async fn answer(client: Client, store: Store, shutdown: CancellationToken) {
    let answering = async {
        loop {
            let questions = client.queue_subscribe(SENT_IN_ALL_ROOMS, SENT_QUEUE.to_owned()).await;
            match questions {
                Ok(questions) => {
                    let one = |question| answer_one(&client, &store, question);
                    questions.for_each_concurrent(QUESTIONS_AT_ONCE, one).await;
                }
                Err(error) => tracing::warn!(%error, "gateways' questions cannot be answered"),
            }
            tokio::time::sleep(SUBSCRIBE_AGAIN_AFTER).await;
        }
    };
    shutdown.run_until_cancelled(answering).await;
}

async fn answer_one(client: &Client, store: &Store, asked: Message) {
    let (Some(room), Some(reply)) = (subject::room_of_sent(&asked.subject), asked.reply) else {
        tracing::warn!(subject = %asked.subject, "a question that nobody can answer");
        return;
    };
    let Ok(MessageLookup { author, id }) = MessageLookup::decode(&asked.payload) else {
        tracing::warn!(%room, "a question of what was sent cannot be read");
        return;
    };
    let found = find(store, room, author, id);
    let answer = match tokio::time::timeout(ANSWER_WITHIN, found).await {
        Ok(Ok(first)) => first.map_or(LookupReply::NotFound, LookupReply::Found),
        Ok(Err(error)) => {
            tracing::warn!(%room, %error, "what was sent before is not known");
            LookupReply::Unknown
        }
        Err(_) => {
            tracing::warn!(%room, "what was sent before could not be found out in time");
            LookupReply::Unknown
        }
    };
    let outcome = match answer {
        LookupReply::Found(_) => "sent",
        LookupReply::NotFound => "not-sent",
        LookupReply::Unknown => "unknown",
    };
    metrics::counter!("sent_answers_total", "answer" => outcome).increment(1);
    if let Err(error) = client.publish(reply, answer.encode().into()).await {
        tracing::warn!(%room, %error, "an answer could not be sent");
    }
}
