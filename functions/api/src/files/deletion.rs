//! Whether all messages that show a file are deleted. The archive removes such a file; deletions that it
//! has not stored yet are read from the stream, so that they count at once.

use std::collections::BTreeSet;

use protocol::{RoomId, Seq, stored::StoredEvent};
use store::db::{self, on_db};

use super::file_row::FileRow;
use crate::{error::ApiError, state::AppState};

/// Events read from the stream by one request to it.
const BATCH: usize = 256;
/// Batches read. There are more only while the archive is down.
const BATCHES: usize = 8;
/// Messages that show one file.
const SHOWN: i64 = 1_000;

/// Whether all messages that show the file are deleted, and there are some.
pub async fn is_deleted(state: &AppState, file: &FileRow) -> Result<bool, ApiError> {
    let archived: Option<i64> = on_db!(&state.store.database, e => sqlx::query_scalar(
        "SELECT archived_seq FROM room_log WHERE room_id = $1"
    ).bind(file.room_id).fetch_optional(e))?;
    let archived = archived.map(db::seq).transpose()?.unwrap_or_default();
    let (mut shown, deleted) = match recent(state, file, archived).await {
        Ok(recent) => recent,
        Err(error) => {
            tracing::warn!(%error, "a file is served without a look at the latest deletions");
            return Ok(false);
        }
    };
    if deleted.is_empty() {
        return Ok(false);
    }
    let before: Vec<i64> = on_db!(&state.store.database, e => sqlx::query_scalar(
        "SELECT seq FROM message WHERE file_id = $1 AND room_id = $2 LIMIT $3"
    ).bind(file.id).bind(file.room_id).bind(SHOWN).fetch_all(e))?;
    for seq in before {
        shown.insert(db::seq(seq)?);
    }
    Ok(!shown.is_empty() && shown.is_subset(&deleted))
}

/// Messages that show the file, and messages that are deleted, according to events after a seq.
async fn recent(
    state: &AppState,
    file: &FileRow,
    archived: Seq,
) -> Result<(BTreeSet<Seq>, BTreeSet<Seq>), ApiError> {
    let room = RoomId::from(file.room_id);
    let (mut shown, mut deleted, mut from) = (BTreeSet::new(), BTreeSet::new(), archived);
    // An index lookup at the server; reading on would be a search.
    let newest = state.store.log.last(room).await?.map_or(Seq::ZERO, |entry| entry.seq);
    for _ in 0..BATCHES {
        if newest <= from {
            break;
        }
        let entries = state.store.log.after(room, from, BATCH).await?;
        let Some(last) = entries.last() else { break };
        from = last.seq;
        for entry in &entries {
            match StoredEvent::decode(&entry.payload) {
                Ok(StoredEvent::ReceiveMsg(message)) => {
                    let is_shown = message.file.is_some_and(|it| it.id.as_uuid() == file.id);
                    shown.extend(is_shown.then_some(entry.seq));
                }
                Ok(StoredEvent::MsgDeleted { target, .. }) => {
                    deleted.insert(target);
                }
                _ => {}
            }
        }
    }
    Ok((shown, deleted))
}
