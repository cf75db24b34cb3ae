//! A batch into the database, in one transaction; storing an event twice changes nothing.

use std::collections::{BTreeSet, HashSet};

use protocol::RoomId;
use sqlx::{Postgres, QueryBuilder, Sqlite};
use uuid::Uuid;

use super::{
    batch::Heads,
    rows::{Change, ChangeKind, Rows},
};
use crate::db::{Database, Tx, on_tx};

/// Rows of one statement: so many values that each more would hardly make it cheaper, and a fixed
/// number, so that the database prepares it once.
const ROWS: usize = 100;

/// Inserts rows by as few statements as can be: `insert!(tx, head, rows, |b, row| push, tail)`.
macro_rules! insert {
    ($tx:expr, $head:expr, $rows:expr, |$binds:ident, $row:ident| $push:block, $tail:expr) => {
        for rows in $rows.chunks(ROWS) {
            // A rest is of any length, and none of them is worth to be kept.
            let is_usual = rows.len() == ROWS;
            match &mut *$tx {
                Tx::Postgres(transaction) => {
                    let mut query = QueryBuilder::<Postgres>::new($head);
                    query.push_values(rows, |mut $binds, $row| $push);
                    query.push($tail);
                    query.build().persistent(is_usual).execute(&mut **transaction).await.map(drop)
                }
                Tx::Sqlite(transaction) => {
                    let mut query = QueryBuilder::<Sqlite>::new($head);
                    query.push_values(rows, |mut $binds, $row| $push);
                    query.push($tail);
                    query.build().persistent(is_usual).execute(&mut **transaction).await.map(drop)
                }
            }?;
        }
    };
}

/// Stores what a batch came to. `heads` says how far rooms are, where that is known for sure. Returns
/// the seqs of changes whose messages are still on their way, and which must come again.
pub async fn store(
    database: &Database,
    mut rows: Rows,
    heads: Option<&Heads>,
) -> anyhow::Result<Vec<u64>> {
    let mut tx = database.begin().await?;
    let mut rooms = rows.rooms();
    rooms.extend(heads.into_iter().flatten().map(|(room, _)| *room));
    let live = live(&mut tx, &rooms).await?;
    // A room that was deleted meanwhile keeps nothing.
    rows.retain(|room| live.contains(&room));
    messages(&mut tx, &rows).await?;
    let mut early = Vec::new();
    for change in &rows.changes {
        // Without a head nobody knows what is still to come.
        if !apply(&mut tx, change).await? && heads.is_none() && !is_there(&mut tx, change).await? {
            early.push(change.seq);
        }
    }
    reactions(&mut tx, &rows).await?;
    read_marks(&mut tx, &rows).await?;
    let heads = heads.into_iter().flatten().filter(|(room, _)| live.contains(room));
    archived(&mut tx, &heads.collect::<Vec<_>>()).await?;
    tx.commit().await?;
    Ok(early)
}

/// Those of the rooms that are not deleted.
async fn live(tx: &mut Tx, rooms: &BTreeSet<RoomId>) -> sqlx::Result<HashSet<RoomId>> {
    const HEAD: &str = "SELECT id FROM room WHERE deleted_at IS NULL AND id IN (";
    let mut found: Vec<Uuid> = Vec::new();
    let rooms: Vec<Uuid> = rooms.iter().map(|room| room.as_uuid()).collect();
    for rooms in rooms.chunks(ROWS) {
        found.extend(match &mut *tx {
            Tx::Postgres(transaction) => {
                let mut query = QueryBuilder::<Postgres>::new(HEAD);
                let mut list = query.separated(", ");
                rooms.iter().for_each(|room| {
                    list.push_bind(*room);
                });
                query.push(")").build_query_scalar::<Uuid>().fetch_all(&mut **transaction).await?
            }
            Tx::Sqlite(transaction) => {
                let mut query = QueryBuilder::<Sqlite>::new(HEAD);
                let mut list = query.separated(", ");
                rooms.iter().for_each(|room| {
                    list.push_bind(*room);
                });
                query.push(")").build_query_scalar::<Uuid>().fetch_all(&mut **transaction).await?
            }
        });
    }
    Ok(found.into_iter().map(RoomId::from).collect())
}

async fn messages(tx: &mut Tx, rows: &Rows) -> sqlx::Result<()> {
    insert!(
        tx,
        "INSERT INTO message
           (room_id, seq, id, author_id, author_name, msg, file, folded, reply_to, at) ",
        rows.messages,
        |row_binds, row| {
            row_binds
                .push_bind(row.room.as_uuid())
                .push_bind(row.seq as i64)
                .push_bind(row.message.id.as_uuid())
                .push_bind(row.message.from.id.as_uuid())
                .push_bind(row.message.from.name.as_str())
                .push_bind(row.message.msg.as_str())
                .push_bind(row.file.as_deref())
                .push_bind(row.folded.as_deref())
                .push_bind(row.message.reply_to.map(|seq| seq as i64))
                .push_bind(row.message.at.utc());
        },
        " ON CONFLICT (room_id, seq) DO NOTHING"
    );
    Ok(())
}

/// Whether the message was there to be changed and had not been changed by this or a later event.
async fn apply(tx: &mut Tx, change: &Change) -> sqlx::Result<bool> {
    let Change { room, seq, target, kind, at } = change;
    let (room, seq, target) = (room.as_uuid(), *seq as i64, *target as i64);
    let changed = match kind {
        ChangeKind::Edited { msg } => {
            let folded = crate::fold::if_other(msg);
            on_tx!(tx, e => sqlx::query(
                "UPDATE message SET msg = $4, folded = $5, edited_at = $6, changed_seq = $2
                 WHERE room_id = $1 AND seq = $3 AND changed_seq < $2 AND deleted_at IS NULL"
            ).bind(room).bind(seq).bind(target).bind(msg).bind(folded).bind(at).execute(e))?
        }
        ChangeKind::Deleted => {
            on_tx!(tx, e => sqlx::query("DELETE FROM reaction WHERE room_id = $1 AND target = $2")
                .bind(room).bind(target).execute(e))?;
            on_tx!(tx, e => sqlx::query(
                "UPDATE message SET msg = '', folded = NULL, file = NULL, deleted_at = $4, changed_seq = $2
                 WHERE room_id = $1 AND seq = $3 AND deleted_at IS NULL"
            ).bind(room).bind(seq).bind(target).bind(at).execute(e))?
        }
    };
    Ok(changed > 0)
}

async fn is_there(tx: &mut Tx, change: &Change) -> sqlx::Result<bool> {
    let found: Option<i32> = on_tx!(tx, e => sqlx::query_scalar(
        "SELECT 1 FROM message WHERE room_id = $1 AND seq = $2"
    ).bind(change.room.as_uuid()).bind(change.target as i64).fetch_optional(e))?;
    Ok(found.is_some())
}

async fn reactions(tx: &mut Tx, rows: &Rows) -> sqlx::Result<()> {
    let reactions: Vec<_> = rows.reactions.iter().collect();
    insert!(
        tx,
        "INSERT INTO reaction AS r (room_id, target, user_id, emoji, seq, is_on) ",
        reactions,
        |binds, row| {
            let ((room, target, user, emoji), (seq, is_on)) = row;
            binds
                .push_bind(room.as_uuid())
                .push_bind(*target as i64)
                .push_bind(user.as_uuid())
                .push_bind(emoji.as_str())
                .push_bind(*seq as i64)
                .push_bind(*is_on);
        },
        " ON CONFLICT (room_id, target, emoji, user_id)
          DO UPDATE SET seq = excluded.seq, is_on = excluded.is_on WHERE r.seq < excluded.seq"
    );
    Ok(())
}

/// Moves forward only.
async fn read_marks(tx: &mut Tx, rows: &Rows) -> sqlx::Result<()> {
    let read: Vec<_> = rows.read.iter().collect();
    insert!(
        tx,
        "INSERT INTO read_mark AS k (room_id, user_id, seq) ",
        read,
        |binds, row| {
            let ((room, user), seq) = row;
            binds.push_bind(room.as_uuid()).push_bind(user.as_uuid()).push_bind(**seq as i64);
        },
        " ON CONFLICT (room_id, user_id)
          DO UPDATE SET seq = excluded.seq WHERE k.seq < excluded.seq"
    );
    Ok(())
}

async fn archived(tx: &mut Tx, heads: &[(&RoomId, &u64)]) -> sqlx::Result<()> {
    insert!(
        tx,
        "INSERT INTO room_log AS l (room_id, archived_seq) ",
        heads,
        |binds, row| {
            let (room, head) = row;
            binds.push_bind(room.as_uuid()).push_bind(**head as i64);
        },
        " ON CONFLICT (room_id)
          DO UPDATE SET archived_seq = excluded.archived_seq WHERE l.archived_seq < excluded.archived_seq"
    );
    Ok(())
}
