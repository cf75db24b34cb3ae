//! The newest seq of each stream that the database has stored (table `stream_log`). The stream must not be behind it,
//! and the stream's consumer must not be ahead of it.

use protocol::{
    RoomId, Seq,
    subject::{Shard, Shards},
};
use uuid::Uuid;

use crate::db::{self, Database, Tx, on_db, on_tx};

/// Rooms of one page.
const PAGE: i64 = 1_000;

/// The newest stored seq of a stream; none before `provision` has run for it.
pub async fn stored(database: &Database, shard: Shard) -> sqlx::Result<Option<Seq>> {
    let stored: Option<i64> = on_db!(database, e => sqlx::query_scalar(
        "SELECT stored_seq FROM stream_log WHERE stream = $1"
    ).bind(shard.stream()).fetch_optional(e))?;
    db::optional_seq(stored)
}

/// Raises the newest stored seq in a transaction; a lower one has no effect.
pub async fn raise(tx: &mut Tx, shard: Shard, seq: Seq) -> sqlx::Result<()> {
    on_tx!(tx, e => sqlx::query(
        "INSERT INTO stream_log AS l (stream, stored_seq) VALUES ($1, $2) ON CONFLICT (stream)
         DO UPDATE SET stored_seq = excluded.stored_seq WHERE l.stored_seq < excluded.stored_seq"
    ).bind(shard.stream()).bind(i64::from(seq)).execute(e))
    .map(drop)
}

/// [`raise`] in a transaction of its own.
pub async fn record(database: &Database, shard: Shard, seq: Seq) -> sqlx::Result<()> {
    let mut tx = database.begin().await?;
    raise(&mut tx, shard, seq).await?;
    tx.commit().await
}

/// Whether the database has no rooms, and so no event can belong to one.
pub async fn is_empty(database: &Database) -> sqlx::Result<bool> {
    let any: Option<i32> =
        on_db!(database, e => sqlx::query_scalar("SELECT 1 FROM room LIMIT 1").fetch_optional(e))?;
    Ok(any.is_none())
}

#[derive(sqlx::FromRow)]
struct HighestOfRoom {
    id: Uuid,
    #[sqlx(try_from = "i64")]
    highest: Seq,
}

/// The highest seq of each shard in any table. Reads all rooms, so it is for the release step only. `read_mark` is
/// left out, because its seqs come from clients.
pub async fn highest(database: &Database, shards: Shards) -> sqlx::Result<Vec<(Shard, Seq)>> {
    let mut highest: Vec<(Shard, Seq)> = shards.all().map(|shard| (shard, Seq::ZERO)).collect();
    for (shard, known) in &mut highest {
        *known = stored(database, *shard).await?.unwrap_or_default();
    }
    let mut after = Uuid::nil();
    loop {
        let page: Vec<HighestOfRoom> = on_db!(database, e => sqlx::query_as(HIGHEST_OF_ROOMS)
            .bind(after).bind(PAGE).fetch_all(e))?;
        let Some(last) = page.last() else { return Ok(highest) };
        after = last.id;
        for room in page {
            let of = shards.of(RoomId::from(room.id));
            if let Some((_, known)) = highest.iter_mut().find(|(shard, _)| *shard == of) {
                *known = room.highest.max(*known);
            }
        }
    }
}

const HIGHEST_OF_ROOMS: &str = "
    SELECT page.id, MAX(page.seq) AS highest FROM (
      SELECT r.id, COALESCE(l.archived_seq, 0) AS seq
        FROM (SELECT id FROM room WHERE id > $1 ORDER BY id LIMIT $2) r
        LEFT JOIN room_log l ON l.room_id = r.id
      UNION ALL SELECT r.id, COALESCE((SELECT MAX(m.seq) FROM message m WHERE m.room_id = r.id), 0)
        FROM (SELECT id FROM room WHERE id > $1 ORDER BY id LIMIT $2) r
      UNION ALL SELECT r.id, COALESCE((SELECT MAX(x.changed_seq) FROM message x WHERE x.room_id = r.id), 0)
        FROM (SELECT id FROM room WHERE id > $1 ORDER BY id LIMIT $2) r
      UNION ALL SELECT r.id, COALESCE((SELECT MAX(c.seq) FROM reaction c WHERE c.room_id = r.id), 0)
        FROM (SELECT id FROM room WHERE id > $1 ORDER BY id LIMIT $2) r
    ) page GROUP BY page.id ORDER BY page.id";
