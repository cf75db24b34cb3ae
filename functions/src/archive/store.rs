//! Events into rows, in one transaction; storing an event twice changes nothing.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use protocol::{
    RoomId,
    stored::{Message, StoredEvent},
};
use uuid::Uuid;

use crate::{
    db::{Database, Tx, on_db, on_tx},
    storage::Storage,
};

/// Objects removed by one sweep.
const DOOMED_AT_ONCE: i64 = 50;

/// An event as it came from the stream.
pub struct Event {
    pub room: RoomId,
    pub seq: u64,
    pub payload: Bytes,
}

/// Stores events, oldest first, and notes for each room how far it is.
pub async fn store(database: &Database, events: &[Event]) -> anyhow::Result<()> {
    let mut tx = database.begin().await?;
    let mut heads: BTreeMap<RoomId, u64> = BTreeMap::new();
    for event in events {
        heads.insert(event.room, event.seq);
        match StoredEvent::decode(&event.payload) {
            Ok(StoredEvent::ReceiveMsg(message)) => {
                insert(&mut tx, event.room, event.seq, &message).await?;
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
                tracing::error!(room = %event.room, seq = event.seq, %error, "passed over");
            }
        }
    }
    // In one order everywhere, so that two archives never wait for each other.
    for (room, head) in heads {
        on_tx!(&mut tx, e => sqlx::query(
            "UPDATE room SET archived_seq = $2 WHERE id = $1 AND archived_seq < $2"
        ).bind(room.as_uuid()).bind(head as i64).execute(e))?;
    }
    tx.commit().await?;
    Ok(())
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

/// Removes objects whose rows are gone.
pub async fn remove_doomed(database: &Database, storage: &Storage) -> anyhow::Result<()> {
    let keys: Vec<String> = on_db!(database, e => sqlx::query_scalar(
        "SELECT object_key FROM doomed_object ORDER BY doomed_at LIMIT $1"
    ).bind(DOOMED_AT_ONCE).fetch_all(e))?;
    for key in keys {
        storage.delete(&key).await?;
        let mut tx = database.begin().await?;
        on_tx!(&mut tx, e => sqlx::query("DELETE FROM doomed_object WHERE object_key = $1").bind(&key).execute(e))?;
        tx.commit().await?;
    }
    Ok(())
}
