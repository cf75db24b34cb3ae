//! Whether a file is deleted, which means that all messages with it are deleted. The archive function removes such a
//! file. Deletions that are not archived yet are read from the stream, so that they take effect at once.

use std::collections::BTreeSet;

use protocol::{RoomId, Seq, stored::StoredEvent};
use store::{
    db::{self, on_db},
    uploads::FileRow,
};

use crate::{error::ApiError, state::AppState};

/// Events per read request to the stream.
const BATCH: usize = 256;
/// Batches read at most. There are more only while the archive function is down.
const BATCHES_MAX: usize = 8;
/// Archived messages with the file that are read at most.
const MESSAGES_MAX: i64 = 1_000;

/// Whether there are messages with the file and all of them are deleted. If the stream cannot be read, the file counts
/// as not deleted, so that files stay available.
pub async fn is_deleted(state: &AppState, file: &FileRow) -> Result<bool, ApiError> {
    let archived: Option<i64> = on_db!(&state.store.database, e => sqlx::query_scalar(
        "SELECT archived_seq FROM room_log WHERE room_id = $1"
    ).bind(file.room_id).fetch_optional(e))?;
    let archived = archived.map(db::seq).transpose()?.unwrap_or_default();
    let (mut showing, deleted) = match unarchived(state, file, archived).await {
        Ok(unarchived) => unarchived,
        Err(error) => {
            tracing::warn!(%error, "reading the stream failed; a file is served without checking unarchived deletions");
            return Ok(false);
        }
    };
    if deleted.is_empty() {
        return Ok(false);
    }
    let archived_messages: Vec<i64> = on_db!(&state.store.database, e => sqlx::query_scalar(
        "SELECT seq FROM message WHERE file_id = $1 AND room_id = $2 LIMIT $3"
    ).bind(file.id).bind(file.room_id).bind(MESSAGES_MAX).fetch_all(e))?;
    for seq in archived_messages {
        showing.insert(db::seq(seq)?);
    }
    Ok(!showing.is_empty() && showing.is_subset(&deleted))
}

/// The messages with the file and the deleted messages, according to the events after the archived seq.
async fn unarchived(
    state: &AppState,
    file: &FileRow,
    archived: Seq,
) -> Result<(BTreeSet<Seq>, BTreeSet<Seq>), ApiError> {
    let room = RoomId::from(file.room_id);
    let (mut showing, mut deleted, mut from) = (BTreeSet::new(), BTreeSet::new(), archived);
    // Looking up the newest event is cheap for NATS. A read past it would search the stream.
    let newest = state.store.log.last(room).await?.map_or(Seq::ZERO, |entry| entry.seq);
    for _ in 0..BATCHES_MAX {
        if newest <= from {
            break;
        }
        let entries = state.store.log.after(room, from, BATCH).await?;
        let Some(last) = entries.last() else { break };
        from = last.seq;
        for entry in &entries {
            match StoredEvent::decode(&entry.payload) {
                Ok(StoredEvent::ReceiveMsg(message)) => {
                    let has_file = message.file.is_some_and(|found| found.id.as_uuid() == file.id);
                    showing.extend(has_file.then_some(entry.seq));
                }
                Ok(StoredEvent::MsgDeleted { target, .. }) => {
                    deleted.insert(target);
                }
                _ => {}
            }
        }
    }
    Ok((showing, deleted))
}
