//! Purges the archived events of rooms.
//!
//! The newest purgeable event of a room stays, because the room's next event names it as `prev`. Before a purge, the
//! room's mark is written: the seq of that event, which tells readers how far back the stream goes. Only a full
//! stream loses the newest events too; gateways then take `prev` from the mark.

use std::{collections::HashMap, sync::Arc, time::Duration};

use protocol::{RoomId, Seq};
use service::stream::ShardStream;
use store::db::{self, Database, on_db, on_tx};
use uuid::Uuid;

use super::{super::room_bytes::RoomBytes, fill_level::FillLevel};

/// When a NATS replica that lags behind has a new mark. It must not apply the purge before.
const MARKS_REPLICATED_AFTER: Duration = Duration::from_secs(2);
/// Rooms of one page, and of one step of [`RoomPurge::purge_largest`].
const PAGE: usize = 500;

pub struct RoomPurge {
    stream: ShardStream,
    room_bytes: Arc<RoomBytes>,
}

/// A room with archived events that are not purged.
#[derive(sqlx::FromRow)]
struct PurgeableRoom {
    room_id: Uuid,
    #[sqlx(try_from = "i64")]
    kept_seq: Seq,
    #[sqlx(try_from = "i64")]
    archived_seq: Seq,
}

impl RoomPurge {
    pub fn new(stream: ShardStream, room_bytes: Arc<RoomBytes>) -> Self {
        Self { stream, room_bytes }
    }

    /// Purges all rooms of their archived events before `bound`. Returns the number of rooms.
    pub async fn purge_before(
        &self,
        database: &Database,
        bound: Seq,
        replicas: usize,
    ) -> anyhow::Result<u64> {
        let (mut purged, mut after) = (0, Uuid::nil());
        loop {
            let page: Vec<PurgeableRoom> = on_db!(database, e => sqlx::query_as(
                "SELECT room_id, kept_seq, archived_seq FROM room_log
                 WHERE room_id > $2 AND kept_seq < archived_seq AND kept_seq < $1
                 ORDER BY room_id LIMIT $3"
            ).bind(i64::from(bound)).bind(after).bind(PAGE as i64).fetch_all(e))?;
            let Some(last) = page.last() else { return Ok(purged) };
            after = last.room_id;
            purged += self.purge(database, page, bound, replicas).await?;
        }
    }

    /// Purges the rooms with the most bytes first, until the stream is no longer full.
    pub async fn purge_largest(
        &self,
        database: &Database,
        bound: Seq,
        replicas: usize,
    ) -> anyhow::Result<u64> {
        // The first room alone usually suffices. Steps grow, because reading the stream's size after each room of
        // many would take long.
        let (mut purged, mut step) = (0, 1);
        let largest = self.room_bytes.largest_first();
        let mut left = &largest[..];
        while !left.is_empty() {
            let (rooms, others) = left.split_at(step.min(left.len()));
            left = others;
            step = (step * 2).min(PAGE);
            let mut purgeable = Vec::new();
            for room in rooms.iter().filter(|room| self.stream.has(**room)) {
                let found: Option<PurgeableRoom> = on_db!(database, e => sqlx::query_as(
                    "SELECT room_id, kept_seq, archived_seq FROM room_log
                     WHERE room_id = $1 AND kept_seq < archived_seq"
                ).bind(room.as_uuid()).fetch_optional(e))?;
                purgeable.extend(found);
            }
            purged += self.purge(database, purgeable, bound, replicas).await?;
            if FillLevel::of(&self.stream.size().await?) == FillLevel::Normal {
                break;
            }
        }
        Ok(purged)
    }

    /// Purges the newest event of rooms too, until the stream is no longer full: many rooms can fill a stream with
    /// one event each.
    pub async fn purge_newest(&self, database: &Database) -> anyhow::Result<u64> {
        let mut purged = 0;
        if FillLevel::of(&self.stream.size().await?) != FillLevel::Full {
            return Ok(purged);
        }
        for rooms in self.stream.rooms().await?.chunks(PAGE) {
            for room in rooms {
                let mark: Option<i64> = on_db!(database, e => sqlx::query_scalar(
                    "SELECT l.kept_seq FROM room_log l JOIN room r ON r.id = l.room_id
                     WHERE l.room_id = $1 AND l.kept_seq = l.archived_seq AND r.deleted_at IS NULL"
                ).bind(room.as_uuid()).fetch_optional(e))?;
                if let Some(mark) = db::optional_seq(mark)? {
                    self.stream.purge_room(*room, mark.next()).await?;
                    purged += 1;
                }
            }
            if FillLevel::of(&self.stream.size().await?) == FillLevel::Normal {
                break;
            }
        }
        Ok(purged)
    }

    async fn purge(
        &self,
        database: &Database,
        rooms: Vec<PurgeableRoom>,
        bound: Seq,
        replicas: usize,
    ) -> anyhow::Result<u64> {
        let mut marked = Vec::new();
        for (room, event) in self.oldest_kept(rooms, bound).await? {
            if self.mark(database, room, event).await? {
                marked.push((room, event));
            }
        }
        if replicas > 1 && !marked.is_empty() {
            tokio::time::sleep(MARKS_REPLICATED_AFTER).await;
        }
        for (room, event) in &marked {
            self.stream.purge_room(*room, *event).await?;
            self.room_bytes.remove(*room);
        }
        Ok(marked.len() as u64)
    }

    /// The event of each room that will be its oldest: the newest archived one before `bound`. If `archived_seq`,
    /// which is an event of the room, is not before the bound, the stream is asked for the one that is.
    async fn oldest_kept(
        &self,
        rooms: Vec<PurgeableRoom>,
        bound: Seq,
    ) -> anyhow::Result<Vec<(RoomId, Seq)>> {
        let (mut events, mut active) = (Vec::new(), Vec::new());
        let mut kept = HashMap::new();
        for PurgeableRoom { room_id, kept_seq, archived_seq } in rooms {
            let room = RoomId::from(room_id);
            if !self.stream.has(room) {
                continue;
            }
            kept.insert(room, kept_seq);
            if archived_seq < bound {
                events.push((room, archived_seq));
            } else {
                active.push(room);
            }
        }
        events.extend(self.stream.newest_until(&active, bound.previous()).await?);
        events.retain(|(room, event)| kept.get(room).is_some_and(|kept| event > kept));
        Ok(events)
    }

    /// Writes the room's mark. Returns false if another archive has written the same or a higher one: under the lock
    /// of the row, marks only increase.
    async fn mark(&self, database: &Database, room: RoomId, event: Seq) -> anyhow::Result<bool> {
        let mut tx = database.begin().await?;
        let updated = on_tx!(&mut tx, e => sqlx::query(
            "UPDATE room_log SET kept_seq = $2 WHERE room_id = $1 AND kept_seq < $2"
        ).bind(room.as_uuid()).bind(i64::from(event)).execute(e))?;
        if updated > 0 {
            self.stream.mark(room, event).await?;
            tx.commit().await?;
        }
        Ok(updated > 0)
    }
}
