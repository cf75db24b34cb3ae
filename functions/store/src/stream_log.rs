//! The newest seq of each stream that the database has stored. A stream must not be behind it, and its
//! consumer not ahead of it.

use protocol::{
    RoomId, Seq,
    subject::{Shard, Shards},
};
use uuid::Uuid;

use crate::db::{self, Database, on_db, on_tx};

/// Rooms looked at by one statement.
const ROOMS: i64 = 1_000;

/// The newest seq of the stream of which the database has taken anything; none before `provision` has
/// run for it.
pub async fn stored(database: &Database, shard: Shard) -> sqlx::Result<Option<Seq>> {
    let stored: Option<i64> = on_db!(database, e => sqlx::query_scalar(
        "SELECT stored_seq FROM stream_log WHERE stream = $1"
    ).bind(shard.stream()).fetch_optional(e))?;
    stored.map(db::seq).transpose()
}

/// Makes the row of a stream, or raises it.
pub async fn note(database: &Database, shard: Shard, seq: Seq) -> sqlx::Result<()> {
    let mut tx = database.begin().await?;
    on_tx!(&mut tx, e => sqlx::query(
        "INSERT INTO stream_log AS l (stream, stored_seq) VALUES ($1, $2) ON CONFLICT (stream)
         DO UPDATE SET stored_seq = excluded.stored_seq WHERE l.stored_seq < excluded.stored_seq"
    ).bind(shard.stream()).bind(i64::from(seq)).execute(e))?;
    tx.commit().await
}

/// Whether the database has no rooms: then no event can be of any.
pub async fn is_empty(database: &Database) -> sqlx::Result<bool> {
    let any: Option<i32> =
        on_db!(database, e => sqlx::query_scalar("SELECT 1 FROM room LIMIT 1").fetch_optional(e))?;
    Ok(any.is_none())
}

#[derive(sqlx::FromRow)]
struct OfRoom {
    id: Uuid,
    #[sqlx(try_from = "i64")]
    highest: Seq,
}

/// The highest seq of each shard that any table knows. Reads all rooms: for the release step only. What
/// users say that they have read is not among it; the events that said so count for `stream_log`.
pub async fn highest(database: &Database, shards: Shards) -> sqlx::Result<Vec<(Shard, Seq)>> {
    let mut highest: Vec<(Shard, Seq)> = shards.all().map(|shard| (shard, Seq::ZERO)).collect();
    for (shard, known) in &mut highest {
        *known = stored(database, *shard).await?.unwrap_or_default();
    }
    let mut after = Uuid::nil();
    loop {
        let page: Vec<OfRoom> = on_db!(database, e => sqlx::query_as(HIGHEST_OF_ROOMS)
            .bind(after).bind(ROOMS).fetch_all(e))?;
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
