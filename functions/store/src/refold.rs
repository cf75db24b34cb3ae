//! Recomputes what depends on Unicode rules and was stored by a version with older rules: keys of rooms, search texts
//! and reactions. SQL cannot compute them. `provision` handles rooms and reactions after the migrations, the archive
//! search texts and rooms that an older version creates during a rolling release. Every step can be repeated.

use protocol::{Emoji, RoomName, name::Stored as _};
use uuid::Uuid;

use crate::{
    db::{Database, Tx, UniqueConstraint, on_db, on_tx},
    search_text,
};

/// Rows of one transaction.
const ROWS: i64 = 500;
/// Retries of a transaction that collides with rooms created at the same time.
const MAX_RETRIES: usize = 5;

#[derive(sqlx::FromRow)]
struct UnfoldedRoom {
    id: Uuid,
    name: String,
    title: Option<String>,
}

/// What `provision` recomputes.
pub async fn after_migrations(database: &Database) -> sqlx::Result<()> {
    while room_names(database).await? {}
    reactions(database).await
}

/// Gives rooms their keys, the oldest first. A room whose key is taken gets a suffix, one whose name contains
/// characters that are no longer allowed loses these. Returns whether there may be more.
pub async fn room_names(database: &Database) -> sqlx::Result<bool> {
    for _ in 0..MAX_RETRIES {
        match fold_rooms(database).await {
            Err(error) if UniqueConstraint::RoomName.is_violated_by(&error) => {}
            result => return result,
        }
    }
    Ok(true)
}

async fn fold_rooms(database: &Database) -> sqlx::Result<bool> {
    let rooms: Vec<UnfoldedRoom> = on_db!(database, e => sqlx::query_as(
        "SELECT id, name, title FROM room WHERE folded_name IS NULL AND deleted_at IS NULL
         ORDER BY created_at, id LIMIT $1"
    ).bind(ROWS).fetch_all(e))?;
    if rooms.is_empty() {
        return Ok(false);
    }
    let mut tx = database.begin().await?;
    for room in &rooms {
        let name = free_name(&mut tx, room).await?;
        if name.as_str() != room.name {
            tracing::warn!(room = %room.id, %name, "a room was renamed: its name is taken or not allowed");
        }
        on_tx!(&mut tx, e => sqlx::query(
            "UPDATE room SET name = $2, folded_name = $3, parts = $4
             WHERE id = $1 AND name = $5 AND folded_name IS NULL AND deleted_at IS NULL"
        )
        .bind(room.id)
        .bind(name.as_str())
        .bind(name.key())
        .bind(search_text::room_search_text(name.as_str(), room.title.as_deref()))
        .bind(&room.name)
        .execute(e))?;
    }
    tx.commit().await?;
    Ok(true)
}

/// The room's name, made valid, or the first one with a suffix that is free.
async fn free_name(tx: &mut Tx, room: &UnfoldedRoom) -> sqlx::Result<RoomName> {
    let base = RoomName::cleaned(&room.name);
    if !is_taken(tx, room.id, &base, false).await? {
        return Ok(base);
    }
    let mut number = 2;
    loop {
        let name = base.with_suffix(number);
        if !is_taken(tx, room.id, &name, true).await? {
            return Ok(name);
        }
        number += 1;
    }
}

/// Whether another room has the name. A name with a suffix must also leave younger rooms theirs, which have no key yet.
async fn is_taken(tx: &mut Tx, room: Uuid, name: &RoomName, is_made: bool) -> sqlx::Result<bool> {
    let taken: Option<i32> = on_tx!(tx, e => sqlx::query_scalar(
        "SELECT 1 FROM room WHERE id <> $1 AND deleted_at IS NULL
           AND (folded_name = $2 OR name = $3 OR $4 AND folded_name IS NULL AND LOWER(name) = $2) LIMIT 1"
    )
    .bind(room)
    .bind(name.key())
    .bind(name.as_str())
    .bind(is_made)
    .fetch_optional(e))?;
    Ok(taken.is_some())
}

#[derive(sqlx::FromRow)]
struct UnfoldedMessage {
    room_id: Uuid,
    seq: i64,
    msg: String,
}

/// Recomputes the search texts of some messages. Returns whether there may be more.
pub async fn search_texts(database: &Database) -> sqlx::Result<bool> {
    // The condition of the index `message_unfolded_idx`.
    let messages: Vec<UnfoldedMessage> = on_db!(database, e => sqlx::query_as(
        "SELECT room_id, seq, msg FROM message WHERE fold_version < 1 AND octet_length(msg) <> length(msg)
         ORDER BY room_id, seq LIMIT $1"
    ).bind(ROWS).fetch_all(e))?;
    if messages.is_empty() {
        return Ok(false);
    }
    let mut tx = database.begin().await?;
    for UnfoldedMessage { room_id, seq, msg } in &messages {
        // An edit since then has stored the search text of its own text.
        on_tx!(&mut tx, e => sqlx::query(
            "UPDATE message SET parts = $4, fold_version = $5 WHERE room_id = $1 AND seq = $2 AND msg = $3"
        )
        .bind(room_id)
        .bind(seq)
        .bind(msg)
        .bind(search_text::search_text(msg))
        .bind(search_text::FOLD_VERSION)
        .execute(e))?;
    }
    tx.commit().await?;
    Ok(messages.len() as i64 == ROWS)
}

/// Stores reactions with the normalised form of their emoji, so that ❤ and ❤️ are one.
async fn reactions(database: &Database) -> sqlx::Result<()> {
    let stored: Vec<String> = on_db!(database, e =>
        sqlx::query_scalar("SELECT DISTINCT emoji FROM reaction").fetch_all(e))?;
    for old in stored {
        let emoji = Emoji::from_stored(&old);
        if emoji.as_str() == old {
            continue;
        }
        let mut tx = database.begin().await?;
        // Of two reactions of a user that become one, the later event counts.
        on_tx!(&mut tx, e => sqlx::query(
            "INSERT INTO reaction AS r (room_id, target, emoji, user_id, seq, is_on)
             SELECT room_id, target, $2, user_id, seq, is_on FROM reaction WHERE emoji = $1
             ON CONFLICT (room_id, target, emoji, user_id)
             DO UPDATE SET seq = excluded.seq, is_on = excluded.is_on WHERE r.seq < excluded.seq"
        ).bind(&old).bind(emoji.as_str()).execute(e))?;
        on_tx!(&mut tx, e =>
            sqlx::query("DELETE FROM reaction WHERE emoji = $1").bind(&old).execute(e))?;
        tx.commit().await?;
    }
    Ok(())
}
