//! Reads files from the database.

use chrono::{DateTime, Utc};
use protocol::{FileId, stored::FileRef};
use uuid::Uuid;

use crate::db::{Database, on_db};

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

/// Finds a file by its id, whether its upload is complete or not.
pub async fn find(database: &Database, file: FileId) -> sqlx::Result<Option<FileRow>> {
    on_db!(database, e => sqlx::query_as(
        "SELECT id, room_id, uploader_id, name, size, media_type, sha256, object_key, completed_at
         FROM file WHERE id = $1"
    ).bind(file.as_uuid()).fetch_optional(e))
}
