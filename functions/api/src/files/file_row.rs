//! Reads files from the database.

use protocol::{FileId, UserId};
use store::{
    db::on_db,
    uploads::{self, FileRow},
};

use crate::{error::ApiError, state::AppState};

/// Whether a user is a member of the file's room. Others must get the same response as for an unknown file.
pub async fn is_member(state: &AppState, file: &FileRow, user: UserId) -> Result<bool, ApiError> {
    let member: Option<i32> = on_db!(&state.store.database, e => sqlx::query_scalar(
        "SELECT 1 FROM active_member WHERE room_id = $1 AND user_id = $2"
    ).bind(file.room_id).bind(user.as_uuid()).fetch_optional(e))?;
    Ok(member.is_some())
}

/// Finds a file by its id, whether its upload is complete or not.
pub async fn find(state: &AppState, file: FileId) -> Result<Option<FileRow>, ApiError> {
    Ok(uploads::find(&state.store.database, file).await?)
}
