//! Events into rows, in one transaction; storing an event twice changes nothing.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use protocol::{
    RoomId, UserId,
    stored::{Message, ReadMark, StoredEvent},
    subject::Stored,
};
use uuid::Uuid;

use super::batch::Heads;
use crate::{
    db::{Database, Tx, on_db, on_tx},
    storage::{PRESIGNED_FOR, Storage},
};

/// Objects removed by one sweep.
const DOOMED_AT_ONCE: i64 = 50;
/// An upload that starts in the last second of its link takes its time.
const UPLOADS_END_AFTER: Duration = PRESIGNED_FOR.saturating_add(Duration::from_secs(60));

/// An event as it came from the stream.
pub struct Event {
    pub stored: Stored,
    pub seq: u64,
    pub payload: Bytes,
}

/// Stores events, oldest first. `heads` says how far rooms are, where that is known for sure.
pub async fn store(
    database: &Database,
    events: &[Event],
    heads: Option<&Heads>,
) -> anyhow::Result<()> {
    let mut tx = database.begin().await?;
    let mut read: BTreeMap<(RoomId, UserId), u64> = BTreeMap::new();
    let mut has_read = |room, user, seq: u64| {
        let furthest = read.entry((room, user)).or_default();
        *furthest = seq.max(*furthest);
    };
    for event in events {
        let room = match event.stored {
            Stored::Event(room) => room,
            Stored::Read(room, user) => {
                match ReadMark::decode(&event.payload) {
                    Ok(ReadMark { seq }) => has_read(room, user, seq),
                    Err(error) => tracing::error!(%room, seq = event.seq, %error, "passed over"),
                }
                continue;
            }
        };
        match StoredEvent::decode(&event.payload) {
            Ok(StoredEvent::ReceiveMsg(message)) => {
                insert(&mut tx, room, event.seq, &message).await?;
                has_read(room, message.from.id, event.seq);
            }
            // Membership and rooms are in the database before the event is; edits, deletions and
            // reactions come with the gateway that sends them.
            Ok(
                StoredEvent::MsgEdited { .. }
                | StoredEvent::MsgDeleted { .. }
                | StoredEvent::Reaction { .. }
                | StoredEvent::RoomBroadcast { .. }
                | StoredEvent::MemberJoined { .. }
                | StoredEvent::MemberLeft { .. }
                | StoredEvent::MemberRemoved { .. }
                | StoredEvent::RoomUpdated { .. }
                | StoredEvent::RoomDeleted { .. },
            ) => {}
            Err(error) => {
                tracing::error!(%room, seq = event.seq, %error, "passed over");
            }
        }
    }
    // Both in one order everywhere, so that two archives never wait for each other.
    for ((room, user), seq) in read {
        mark_read(&mut tx, room, user, seq).await?;
    }
    for (room, head) in heads.into_iter().flatten() {
        on_tx!(&mut tx, e => sqlx::query(
            "UPDATE room SET archived_seq = $2 WHERE id = $1 AND archived_seq < $2"
        ).bind(room.as_uuid()).bind(*head as i64).execute(e))?;
    }
    tx.commit().await?;
    Ok(())
}

/// Moves forward only. Who writes has read what stood before.
async fn mark_read(tx: &mut Tx, room: RoomId, user: UserId, seq: u64) -> sqlx::Result<()> {
    on_tx!(tx, e => sqlx::query(
        "UPDATE member SET read_seq = $3 WHERE room_id = $1 AND user_id = $2 AND read_seq < $3"
    ).bind(room.as_uuid()).bind(user.as_uuid()).bind(seq as i64).execute(e))
    .map(drop)
}

async fn insert(tx: &mut Tx, room: RoomId, seq: u64, message: &Message) -> anyhow::Result<()> {
    let file = message.file.as_ref().map(serde_json::to_string).transpose()?;
    let at: DateTime<Utc> = message.at.utc();
    let author: Uuid = message.from.id.into();
    // A room that was deleted meanwhile keeps nothing.
    on_tx!(tx, e => sqlx::query(
        "INSERT INTO message (room_id, seq, id, author_id, author_name, msg, file, reply_to, at)
         SELECT r.id, $2, $3, $4, $5, $6, $7, $8, $9 FROM room r WHERE r.id = $1
         ON CONFLICT (room_id, seq) DO NOTHING"
    )
    .bind(room.as_uuid())
    .bind(seq as i64)
    .bind(message.id.as_uuid())
    .bind(author)
    .bind(message.from.name.as_str())
    .bind(message.msg.as_str())
    .bind(&file)
    .bind(message.reply_to.map(|seq| seq as i64))
    .bind(at)
    .execute(e))?;
    Ok(())
}

/// Removes objects whose rows are gone: at once, and again when the last upload that was signed for
/// them before can have ended.
pub async fn remove_doomed(database: &Database, storage: &Storage) -> anyhow::Result<()> {
    let doomed: Vec<Doomed> = on_db!(database, e => sqlx::query_as(
        "SELECT object_key, due_at FROM doomed_object
         WHERE due_at IS NULL OR due_at < $1 ORDER BY doomed_at LIMIT $2"
    ).bind(Utc::now()).bind(DOOMED_AT_ONCE).fetch_all(e))?;
    for Doomed { object_key, due_at } in doomed {
        storage.delete_all(&object_key).await?;
        let mut tx = database.begin().await?;
        match due_at {
            None => on_tx!(&mut tx, e => sqlx::query(
                "UPDATE doomed_object SET due_at = $2 WHERE object_key = $1"
            ).bind(&object_key).bind(Utc::now() + UPLOADS_END_AFTER).execute(e))?,
            Some(_) => on_tx!(&mut tx, e => sqlx::query(
                "DELETE FROM doomed_object WHERE object_key = $1"
            ).bind(&object_key).execute(e))?,
        };
        tx.commit().await?;
    }
    Ok(())
}

#[derive(sqlx::FromRow)]
struct Doomed {
    object_key: String,
    due_at: Option<DateTime<Utc>>,
}
