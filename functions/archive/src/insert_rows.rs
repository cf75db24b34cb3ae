//! Inserts the rows of a batch, a table at a time. PostgreSQL takes all rows in one statement, one array per
//! column, to save round trips; SQLite has no arrays and no round trips, and takes them one by one.

use protocol::{RoomId, Seq};
use store::db::Tx;

use super::batch_rows::BatchRows;

/// Binds and executes `insert_rows!(tx, POSTGRES, SQLITE, rows, |row| (value, …))`. A macro, because the types of
/// the columns differ from table to table and each column is bound for both databases.
macro_rules! insert_rows {
    ($tx:expr, $postgres:expr, $sqlite:expr, $rows:expr, |$row:ident| ($($value:expr),+ $(,)?)) => {
        match $tx {
            Tx::Postgres(transaction) => {
                let query = sqlx::query($postgres);
                $(let query = query.bind($rows.iter().map(|$row| $value).collect::<Vec<_>>());)+
                query.execute(&mut **transaction).await?;
            }
            Tx::Sqlite(transaction) => {
                for $row in $rows.iter() {
                    let query = sqlx::query($sqlite);
                    $(let query = query.bind($value);)+
                    query.execute(&mut **transaction).await?;
                }
            }
        }
    };
}

/// A conflict is an event that was archived before, or a message that its author sent before: the first one counts.
const MESSAGES_POSTGRES: &str = "
    INSERT INTO message (room_id, seq, id, author_id, author_name, msg, file, file_id, parts, reply_to, at,
      fold_version)
    SELECT * FROM UNNEST($1::uuid[], $2::bigint[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::text[],
      $8::uuid[], $9::text[], $10::bigint[], $11::timestamptz[], $12::bigint[])
    ON CONFLICT DO NOTHING";
const MESSAGES_SQLITE: &str = "
    INSERT INTO message (room_id, seq, id, author_id, author_name, msg, file, file_id, parts, reply_to, at,
      fold_version)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
    ON CONFLICT DO NOTHING";

pub async fn messages(tx: &mut Tx, rows: &BatchRows) -> sqlx::Result<()> {
    insert_rows!(tx, MESSAGES_POSTGRES, MESSAGES_SQLITE, rows.messages, |row| (
        row.room.as_uuid(),
        i64::from(row.seq),
        row.message.id.as_uuid(),
        row.message.from.id.as_uuid(),
        row.message.from.name.as_str(),
        row.message.msg.as_str(),
        row.file.as_deref(),
        row.message.file.as_ref().map(|file| file.id.as_uuid()),
        row.parts.as_str(),
        row.message.reply_to.map(i64::from),
        row.message.at.utc(),
        row.fold_version,
    ));
    Ok(())
}

const REACTIONS_POSTGRES: &str = "
    INSERT INTO reaction AS r (room_id, target, user_id, emoji, seq, is_on)
    SELECT * FROM UNNEST($1::uuid[], $2::bigint[], $3::uuid[], $4::text[], $5::bigint[], $6::boolean[])
    ON CONFLICT (room_id, target, emoji, user_id)
    DO UPDATE SET seq = excluded.seq, is_on = excluded.is_on WHERE r.seq < excluded.seq";
const REACTIONS_SQLITE: &str = "
    INSERT INTO reaction AS r (room_id, target, user_id, emoji, seq, is_on)
    VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (room_id, target, emoji, user_id)
    DO UPDATE SET seq = excluded.seq, is_on = excluded.is_on WHERE r.seq < excluded.seq";

pub async fn reactions(tx: &mut Tx, rows: &BatchRows) -> sqlx::Result<()> {
    let reactions: Vec<_> = rows.reactions.iter().collect();
    insert_rows!(tx, REACTIONS_POSTGRES, REACTIONS_SQLITE, reactions, |row| (
        row.0.0.as_uuid(),
        i64::from(row.0.1),
        row.0.2.as_uuid(),
        row.0.3.as_str(),
        i64::from(row.1.0),
        row.1.1,
    ));
    Ok(())
}

const READ_MARKS_POSTGRES: &str = "
    INSERT INTO read_mark AS k (room_id, user_id, seq)
    SELECT * FROM UNNEST($1::uuid[], $2::uuid[], $3::bigint[])
    ON CONFLICT (room_id, user_id)
    DO UPDATE SET seq = excluded.seq WHERE k.seq < excluded.seq";
const READ_MARKS_SQLITE: &str = "
    INSERT INTO read_mark AS k (room_id, user_id, seq)
    VALUES ($1, $2, $3)
    ON CONFLICT (room_id, user_id)
    DO UPDATE SET seq = excluded.seq WHERE k.seq < excluded.seq";

pub async fn read_marks(tx: &mut Tx, rows: &BatchRows) -> sqlx::Result<()> {
    let marks: Vec<_> = rows.read_marks.iter().collect();
    insert_rows!(tx, READ_MARKS_POSTGRES, READ_MARKS_SQLITE, marks, |row| (
        row.0.0.as_uuid(),
        row.0.1.as_uuid(),
        i64::from(*row.1),
    ));
    Ok(())
}

const WATERMARKS_POSTGRES: &str = "
    INSERT INTO room_log AS l (room_id, archived_seq)
    SELECT * FROM UNNEST($1::uuid[], $2::bigint[])
    ON CONFLICT (room_id)
    DO UPDATE SET archived_seq = excluded.archived_seq WHERE l.archived_seq < excluded.archived_seq";
const WATERMARKS_SQLITE: &str = "
    INSERT INTO room_log AS l (room_id, archived_seq)
    VALUES ($1, $2)
    ON CONFLICT (room_id)
    DO UPDATE SET archived_seq = excluded.archived_seq WHERE l.archived_seq < excluded.archived_seq";

pub async fn watermarks(tx: &mut Tx, watermarks: &[(RoomId, Seq)]) -> sqlx::Result<()> {
    insert_rows!(tx, WATERMARKS_POSTGRES, WATERMARKS_SQLITE, watermarks, |row| (
        row.0.as_uuid(),
        i64::from(row.1),
    ));
    Ok(())
}
