//! A batch into the database, in one transaction; storing an event twice changes nothing.

use std::collections::{BTreeSet, HashSet};

use protocol::{RoomId, Seq};
use sqlx::AssertSqlSafe;
use store::{
    db::{Database, Tx, on_tx},
    search_text,
};
use uuid::Uuid;

use super::{
    held_heads::Heads,
    reaction_kinds,
    rows::{ChangeKind, MessageChange, Rows},
    uploads,
};

/// Inserts rows: `insert!(tx, into, rows, |row| ("type": value, …), tail)`. PostgreSQL takes them as
/// columns, by one statement for any number; to SQLite each is a call and no way to go.
macro_rules! insert {
    ($tx:expr, $into:literal, $rows:expr, |$row:ident| ($($kind:literal: $value:expr),+), $tail:literal) => {
        match $tx {
            Tx::Postgres(transaction) => {
                let columns = numbered(&[$($kind),+], |kind| format!("::{kind}[]"));
                let statement = format!("{} SELECT * FROM UNNEST({columns}) {}", $into, $tail);
                let query = sqlx::query(AssertSqlSafe(statement));
                $(let query = query.bind($rows.iter().map(|$row| $value).collect::<Vec<_>>());)+
                query.execute(&mut **transaction).await?;
            }
            Tx::Sqlite(transaction) => {
                let values = numbered(&[$($kind),+], |_| String::new());
                let statement = format!("{} VALUES ({values}) {}", $into, $tail);
                for $row in $rows.iter() {
                    let query = sqlx::query(AssertSqlSafe(statement.as_str()));
                    $(let query = query.bind($value);)+
                    query.execute(&mut **transaction).await?;
                }
            }
        }
    };
}

/// A parameter for each value of these types, cast to what `cast` makes of its type.
fn numbered(kinds: &[&str], cast: impl Fn(&str) -> String) -> String {
    let numbered = kinds.iter().zip(1..).map(|(kind, number)| format!("${number}{}", cast(kind)));
    numbered.collect::<Vec<_>>().join(", ")
}

/// What a batch says of the whole stream, written in the transaction that stores its last events.
pub struct Progress {
    /// How far rooms are, where that is known for sure.
    pub heads: Heads,
    pub stream: String,
    /// The newest seq of the batch.
    pub stored: Seq,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The seqs of changes whose messages are still on their way, and which must come again.
    pub early: Vec<Seq>,
    /// Rooms that the database does not know.
    pub unknown: BTreeSet<RoomId>,
}

/// Stores what a batch came to. Every event up to `complete_to` is stored or in this batch: a change of
/// a message that is not there by then changes nothing.
pub async fn store(
    database: &Database,
    mut rows: Rows,
    progress: Option<&Progress>,
    complete_to: Seq,
) -> sqlx::Result<Outcome> {
    let mut tx = database.begin().await?;
    let mut rooms = rows.rooms();
    let heads = progress.into_iter().flat_map(|progress| &progress.heads);
    rooms.extend(heads.clone().map(|(room, _)| *room));
    let (live, known) = known(&mut tx, &rooms).await?;
    // A room that was deleted meanwhile keeps nothing.
    rows.retain(|room| live.contains(&room));
    reaction_kinds::bound(&mut tx, &mut rows).await?;
    messages(&mut tx, &rows).await?;
    let mut early = Vec::new();
    for change in &rows.changes {
        if !apply(&mut tx, change).await?
            && change.target > complete_to
            && !is_there(&mut tx, change).await?
        {
            early.push(change.seq);
        }
    }
    reactions(&mut tx, &rows).await?;
    read_marks(&mut tx, &rows).await?;
    let heads = heads.filter(|(room, _)| live.contains(room));
    archived(&mut tx, &heads.collect::<Vec<_>>()).await?;
    if let Some(Progress { stream, stored, .. }) = progress {
        // Last, as two archives wait for each other here.
        stored_up_to(&mut tx, stream, *stored).await?;
    }
    tx.commit().await?;
    rooms.retain(|room| !known.contains(room));
    Ok(Outcome { early, unknown: rooms })
}

/// The rooms that are not deleted, and those that have a row.
async fn known(
    tx: &mut Tx,
    rooms: &BTreeSet<RoomId>,
) -> sqlx::Result<(HashSet<RoomId>, HashSet<RoomId>)> {
    let mut found: Vec<(Uuid, bool)> = Vec::new();
    match tx {
        Tx::Postgres(transaction) => {
            let rooms: Vec<Uuid> = rooms.iter().map(|room| room.as_uuid()).collect();
            let live = "SELECT id, deleted_at IS NULL FROM room WHERE id = ANY($1)";
            found = sqlx::query_as(live).bind(rooms).fetch_all(&mut **transaction).await?;
        }
        Tx::Sqlite(transaction) => {
            for room in rooms {
                let live = "SELECT id, deleted_at IS NULL FROM room WHERE id = $1";
                let room = sqlx::query_as::<_, (Uuid, bool)>(live).bind(room.as_uuid());
                found.extend(room.fetch_optional(&mut **transaction).await?);
            }
        }
    }
    let live = found.iter().filter(|(_, is_live)| *is_live);
    let live = live.map(|(room, _)| RoomId::from(*room)).collect();
    Ok((live, found.into_iter().map(|(room, _)| RoomId::from(room)).collect()))
}

async fn messages(tx: &mut Tx, rows: &Rows) -> sqlx::Result<()> {
    insert!(
        tx,
        "INSERT INTO message
           (room_id, seq, id, author_id, author_name, msg, file, file_id, parts, reply_to, at)",
        rows.messages,
        |row| (
            "uuid": row.room.as_uuid(),
            "bigint": i64::from(row.seq),
            "uuid": row.message.id.as_uuid(),
            "uuid": row.message.from.id.as_uuid(),
            "text": row.message.from.name.as_str(),
            "text": row.message.msg.as_str(),
            "text": row.file.as_deref(),
            "uuid": row.message.file.as_ref().map(|file| file.id.as_uuid()),
            "text": row.parts.as_str(),
            "bigint": row.message.reply_to.map(i64::from),
            "timestamptz": row.message.at.utc()
        ),
        // Either the event was archived before, or its author sent the message before: the first one counts.
        "ON CONFLICT DO NOTHING"
    );
    Ok(())
}

/// Whether the message was there to be changed and had not been changed by this or a later event.
async fn apply(tx: &mut Tx, change: &MessageChange) -> sqlx::Result<bool> {
    let MessageChange { room, seq, target, kind, at } = change;
    let (room, seq, target) = (room.as_uuid(), i64::from(*seq), i64::from(*target));
    let changed = match kind {
        ChangeKind::Edited { msg } => {
            let parts = search_text::search_text(msg);
            on_tx!(tx, e => sqlx::query(
                "UPDATE message SET msg = $4, parts = $5, edited_at = $6, changed_seq = $2
                 WHERE room_id = $1 AND seq = $3 AND changed_seq < $2 AND deleted_at IS NULL"
            ).bind(room).bind(seq).bind(target).bind(msg).bind(parts).bind(at).execute(e))?
        }
        ChangeKind::Deleted => {
            let file = uploads::of_message(tx, change.room, change.target).await?;
            on_tx!(tx, e => sqlx::query("DELETE FROM reaction WHERE room_id = $1 AND target = $2")
                .bind(room).bind(target).execute(e))?;
            let deleted = on_tx!(tx, e => sqlx::query(
                "UPDATE message SET msg = '', parts = NULL, file = NULL, file_id = NULL, deleted_at = $4,
                   changed_seq = $2
                 WHERE room_id = $1 AND seq = $3 AND deleted_at IS NULL"
            ).bind(room).bind(seq).bind(target).bind(at).execute(e))?;
            if let Some(file) = file {
                uploads::remove_unless_shown(tx, change.room, file).await?;
            }
            deleted
        }
    };
    Ok(changed > 0)
}

async fn is_there(tx: &mut Tx, change: &MessageChange) -> sqlx::Result<bool> {
    let found: Option<i32> = on_tx!(tx, e => sqlx::query_scalar(
        "SELECT 1 FROM message WHERE room_id = $1 AND seq = $2"
    ).bind(change.room.as_uuid()).bind(i64::from(change.target)).fetch_optional(e))?;
    Ok(found.is_some())
}

async fn reactions(tx: &mut Tx, rows: &Rows) -> sqlx::Result<()> {
    let reactions = rows.reactions.iter().map(|((room, target, user, emoji), (seq, is_on))| {
        (
            room.as_uuid(),
            i64::from(*target),
            user.as_uuid(),
            emoji.as_str(),
            i64::from(*seq),
            *is_on,
        )
    });
    let reactions: Vec<_> = reactions.collect();
    insert!(
        tx,
        "INSERT INTO reaction AS r (room_id, target, user_id, emoji, seq, is_on)",
        reactions,
        |row| ("uuid": row.0, "bigint": row.1, "uuid": row.2, "text": row.3, "bigint": row.4, "boolean": row.5),
        "ON CONFLICT (room_id, target, emoji, user_id)
         DO UPDATE SET seq = excluded.seq, is_on = excluded.is_on WHERE r.seq < excluded.seq"
    );
    Ok(())
}

/// Moves forward only.
async fn read_marks(tx: &mut Tx, rows: &Rows) -> sqlx::Result<()> {
    let read = rows.read.iter();
    let read: Vec<_> =
        read.map(|((room, user), seq)| (room.as_uuid(), user.as_uuid(), i64::from(*seq))).collect();
    insert!(
        tx,
        "INSERT INTO read_mark AS k (room_id, user_id, seq)",
        read,
        |row| ("uuid": row.0, "uuid": row.1, "bigint": row.2),
        "ON CONFLICT (room_id, user_id)
         DO UPDATE SET seq = excluded.seq WHERE k.seq < excluded.seq"
    );
    Ok(())
}

async fn archived(tx: &mut Tx, heads: &[(&RoomId, &Seq)]) -> sqlx::Result<()> {
    let heads: Vec<_> =
        heads.iter().map(|(room, seq)| (room.as_uuid(), i64::from(**seq))).collect();
    insert!(
        tx,
        "INSERT INTO room_log AS l (room_id, archived_seq)",
        heads,
        |row| ("uuid": row.0, "bigint": row.1),
        "ON CONFLICT (room_id)
         DO UPDATE SET archived_seq = excluded.archived_seq WHERE l.archived_seq < excluded.archived_seq"
    );
    Ok(())
}

/// Moves forward only.
async fn stored_up_to(tx: &mut Tx, stream: &str, seq: Seq) -> sqlx::Result<()> {
    on_tx!(tx, e => sqlx::query(
        "INSERT INTO stream_log AS l (stream, stored_seq) VALUES ($1, $2) ON CONFLICT (stream)
         DO UPDATE SET stored_seq = excluded.stored_seq WHERE l.stored_seq < excluded.stored_seq"
    ).bind(stream).bind(i64::from(seq)).execute(e))
    .map(drop)
}
