//! Applies edits and deletions to archived messages.

use protocol::Seq;
use store::{
    db::{Tx, on_tx},
    search_text,
};

use super::{
    batch_rows::{ChangeKind, MessageChange},
    file_removal,
};

/// Applies changes in order. Returns the seqs of those whose message may still be stored later, because it is
/// newer than `complete_to`.
pub async fn apply(
    tx: &mut Tx,
    changes: &[MessageChange],
    complete_to: Seq,
) -> sqlx::Result<Vec<Seq>> {
    let mut early = Vec::new();
    for change in changes {
        let is_applied = match &change.kind {
            ChangeKind::Edited { msg } => edit(tx, change, msg).await?,
            ChangeKind::Deleted => delete(tx, change).await?,
        };
        if !is_applied && change.target > complete_to && !is_stored(tx, change).await? {
            early.push(change.seq);
        }
    }
    Ok(early)
}

/// Returns false if the message is not stored, is deleted, or has this or a later change.
async fn edit(tx: &mut Tx, change: &MessageChange, msg: &str) -> sqlx::Result<bool> {
    let edited = on_tx!(tx, e => sqlx::query(
        "UPDATE message SET msg = $4, parts = $5, fold_version = $7, edited_at = $6, changed_seq = $2
         WHERE room_id = $1 AND seq = $3 AND changed_seq < $2 AND deleted_at IS NULL"
    )
    .bind(change.room.as_uuid())
    .bind(i64::from(change.seq))
    .bind(i64::from(change.target))
    .bind(msg)
    .bind(search_text::search_text(msg))
    .bind(change.at)
    .bind(search_text::FOLD_VERSION)
    .execute(e))?;
    Ok(edited > 0)
}

/// Removes the text, the reactions, and the file if no other message shows it. Returns false if the message is
/// not stored or already deleted.
async fn delete(tx: &mut Tx, change: &MessageChange) -> sqlx::Result<bool> {
    let (room, target) = (change.room.as_uuid(), i64::from(change.target));
    let file = file_removal::file_of_message(tx, change.room, change.target).await?;
    on_tx!(tx, e => sqlx::query("DELETE FROM reaction WHERE room_id = $1 AND target = $2")
        .bind(room).bind(target).execute(e))?;
    let deleted = on_tx!(tx, e => sqlx::query(
        "UPDATE message SET msg = '', parts = NULL, file = NULL, file_id = NULL, deleted_at = $4,
           changed_seq = $2
         WHERE room_id = $1 AND seq = $3 AND deleted_at IS NULL"
    ).bind(room).bind(i64::from(change.seq)).bind(target).bind(change.at).execute(e))?;
    if let Some(file) = file {
        file_removal::remove_unless_shown(tx, change.room, file).await?;
    }
    Ok(deleted > 0)
}

async fn is_stored(tx: &mut Tx, change: &MessageChange) -> sqlx::Result<bool> {
    let found: Option<i32> = on_tx!(tx, e => sqlx::query_scalar(
        "SELECT 1 FROM message WHERE room_id = $1 AND seq = $2"
    ).bind(change.room.as_uuid()).bind(i64::from(change.target)).fetch_optional(e))?;
    Ok(found.is_some())
}
