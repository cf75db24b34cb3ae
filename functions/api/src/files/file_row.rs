//! Reads files from the database.

use chrono::{DateTime, Utc};
use protocol::{FileId, UserId, stored::FileRef};
use store::db::on_db;
use uuid::Uuid;

use crate::{error::ApiError, state::AppState};

/// Columns of the table `file`.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct FileRow {
    pub id: Uuid,
    pub room_id: Uuid,
    pub uploader_id: Uuid,
    pub name: String,
    pub size: i64,
    pub media_type: String,
    pub sha256: Option<String>,
    pub object_key: String,
    pub completed_at: Option<DateTime<Utc>>,
}

impl FileRow {
    /// The file as messages refer to it.
    pub fn reference(&self) -> FileRef {
        FileRef {
            id: self.id.into(),
            name: self.name.clone(),
            size: self.bytes(),
            media_type: self.media_type.clone(),
        }
    }

    /// The declared size.
    pub fn bytes(&self) -> u64 {
        u64::try_from(self.size).unwrap_or(0)
    }
}

/// Whether a user is a member of the file's room. Others must get the same response as for an unknown file.
pub async fn is_member(state: &AppState, file: &FileRow, user: UserId) -> Result<bool, ApiError> {
    let member: Option<i32> = on_db!(&state.store.database, e => sqlx::query_scalar(
        "SELECT 1 FROM active_member WHERE room_id = $1 AND user_id = $2"
    ).bind(file.room_id).bind(user.as_uuid()).fetch_optional(e))?;
    Ok(member.is_some())
}

/// Finds a file by its id, whether its upload is complete or not.
pub async fn find(state: &AppState, file: FileId) -> Result<Option<FileRow>, ApiError> {
    Ok(on_db!(&state.store.database, e => sqlx::query_as(
        "SELECT id, room_id, uploader_id, name, size, media_type, sha256, object_key, completed_at
         FROM file WHERE id = $1"
    ).bind(file.as_uuid()).fetch_optional(e))?)
}
