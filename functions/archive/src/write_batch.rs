//! Writes a batch to the database in one transaction. Writing an event twice changes nothing.

use std::collections::{BTreeSet, HashSet};

use protocol::{RoomId, Seq, subject::Shard};
use store::{
    db::{Database, Tx},
    stream_log,
};
use uuid::Uuid;

use super::{
    batch_rows::BatchRows, insert_rows, message_changes, pending_watermarks::Watermarks,
    reaction_limit,
};

/// How far the stream and its rooms are archived, written in the transaction that stores a batch's last events.
pub struct StreamState {
    pub shard: Shard,
    /// Watermarks of rooms that have no older unacknowledged event.
    pub watermarks: Watermarks,
    /// The newest seq of the batch.
    pub stored: Seq,
}

#[derive(Debug, Default)]
pub struct Outcome {
    /// Seqs of changes that were delivered before their messages, and must be delivered again.
    pub early: Vec<Seq>,
    /// Rooms that have no row in the database.
    pub unknown: BTreeSet<RoomId>,
}

/// Stores a batch. Every event up to `complete_to` is stored or in this batch, so a change of a message that is
/// not there by then is dropped.
pub async fn store(
    database: &Database,
    mut rows: BatchRows,
    state: Option<&StreamState>,
    complete_to: Seq,
) -> sqlx::Result<Outcome> {
    let mut tx = database.begin().await?;
    let mut rooms = rows.rooms();
    let watermarks = state.into_iter().flat_map(|state| &state.watermarks);
    rooms.extend(watermarks.clone().map(|(room, _)| *room));
    let KnownRooms { live, known } = known_rooms(&mut tx, &rooms).await?;
    // Events of rooms that were deleted since they were published are dropped.
    rows.retain(|room| live.contains(&room));
    reaction_limit::apply(&mut tx, &mut rows).await?;
    insert_rows::messages(&mut tx, &rows).await?;
    let early = message_changes::apply(&mut tx, &rows.changes, complete_to).await?;
    insert_rows::reactions(&mut tx, &rows).await?;
    insert_rows::read_marks(&mut tx, &rows).await?;
    let watermarks: Vec<_> = watermarks
        .filter(|(room, _)| live.contains(room))
        .map(|(room, seq)| (*room, *seq))
        .collect();
    insert_rows::watermarks(&mut tx, &watermarks).await?;
    if let Some(StreamState { shard, stored, .. }) = state {
        // Last, because two archives of one stream wait for each other at this row.
        stream_log::raise(&mut tx, *shard, *stored).await?;
    }
    tx.commit().await?;
    rooms.retain(|room| !known.contains(room));
    Ok(Outcome { early, unknown: rooms })
}

struct KnownRooms {
    /// Rooms that are not deleted.
    live: HashSet<RoomId>,
    /// Rooms that have a row.
    known: HashSet<RoomId>,
}

async fn known_rooms(tx: &mut Tx, rooms: &BTreeSet<RoomId>) -> sqlx::Result<KnownRooms> {
    let mut found: Vec<(Uuid, bool)> = Vec::new();
    match tx {
        Tx::Postgres(transaction) => {
            let rooms: Vec<Uuid> = rooms.iter().map(|room| room.as_uuid()).collect();
            let query = "SELECT id, deleted_at IS NULL FROM room WHERE id = ANY($1)";
            found = sqlx::query_as(query).bind(rooms).fetch_all(&mut **transaction).await?;
        }
        Tx::Sqlite(transaction) => {
            for room in rooms {
                let query = "SELECT id, deleted_at IS NULL FROM room WHERE id = $1";
                let room = sqlx::query_as::<_, (Uuid, bool)>(query).bind(room.as_uuid());
                found.extend(room.fetch_optional(&mut **transaction).await?);
            }
        }
    }
    let live = found.iter().filter(|(_, is_live)| *is_live);
    let live = live.map(|(room, _)| RoomId::from(*room)).collect();
    let known = found.iter().map(|(room, _)| RoomId::from(*room)).collect();
    Ok(KnownRooms { live, known })
}
