//! Completing uploads: comparing an object in the storage with what its uploader declared. A client asks for that, and
//! an event of the storage does it if the client vanished.

mod file_row;
mod inline_type;

use std::time::Duration;

use chrono::Utc;
use protocol::{
    stored::FileRef,
    subject::{self, FILES_BUCKET},
};
use service::trace::TraceParent;

pub use self::{
    file_row::{FileRow, find},
    inline_type::InlineType,
};
use crate::{
    StorageUnavailable, Store, StoreError, UploadRefused,
    db::{Database, on_tx},
    storage::{Storage, UploadedObject},
};

/// How long the removal of a wrong object may take. The file's row is locked meanwhile.
const REMOVE_TIMEOUT: Duration = Duration::from_secs(3);

/// Marks a file as complete, if its object equals the declaration, and publishes it to the gateways. Every call
/// publishes, also for a file that was complete, so that a caller can repeat a call whose publish failed.
pub async fn complete(
    store: &Store,
    storage: &Storage,
    row: &FileRow,
    trace: TraceParent,
) -> Result<FileRef, StoreError> {
    if row.completed_at.is_none() {
        let (checked, mismatch) = check(storage, row).await?;
        match mismatch {
            None => set_complete(&store.database, row).await?,
            Some(mismatch) => refuse(&store.database, storage, row, &checked, mismatch).await?,
        }
    }
    let file = row.reference();
    // Gateways look up the files of messages in this bucket.
    let key = subject::file_key(row.room_id.into(), row.id.into());
    let payload = serde_json::to_vec(&file).map_err(|error| StoreError::Internal(error.into()))?;
    let put_id = uuid::Uuid::now_v7().to_string();
    let subject = subject::bucket_put(FILES_BUCKET, &key);
    store.log.publish(subject, &put_id, payload.into(), Some(trace)).await?.stored().await?;
    Ok(file)
}

async fn set_complete(database: &Database, row: &FileRow) -> Result<(), StoreError> {
    let mut tx = database.begin().await?;
    on_tx!(&mut tx, e => sqlx::query(
        "UPDATE file SET completed_at = $2 WHERE id = $1 AND completed_at IS NULL"
    ).bind(row.id).bind(Utc::now()).execute(e))?;
    Ok(tx.commit().await?)
}

/// Removes the object that was checked, because it differs from the declaration. A later object must stay: a concurrent
/// request may have removed the checked one, and another upload may have followed. The row lock excludes a concurrent
/// completion, and while the object exists, the storage accepts no other one (`if-none-match: *`).
async fn refuse(
    database: &Database,
    storage: &Storage,
    row: &FileRow,
    checked: &UploadedObject,
    mismatch: String,
) -> Result<(), StoreError> {
    let mut tx = database.begin().await?;
    let incomplete = on_tx!(&mut tx, e => sqlx::query(
        "UPDATE file SET completed_at = NULL WHERE id = $1 AND completed_at IS NULL"
    ).bind(row.id).execute(e))?;
    if incomplete == 0 {
        // Another object was uploaded and completed since.
        return Ok(());
    }
    let removal = async {
        let stored = storage.head(&row.object_key).await?;
        if stored.is_some_and(|stored| stored.version == checked.version) {
            storage.delete(&row.object_key).await?;
        }
        Ok::<_, StoreError>(())
    };
    let outcome = tokio::time::timeout(REMOVE_TIMEOUT, removal).await;
    outcome.map_err(|_| StorageUnavailable("delete an object"))??;
    tx.commit().await?;
    Err(UploadRefused::Mismatch(mismatch).into())
}

/// Returns the uploaded object and, if it differs from the declaration, a description of the difference.
async fn check(
    storage: &Storage,
    row: &FileRow,
) -> Result<(UploadedObject, Option<String>), StoreError> {
    let key = &row.object_key;
    let mut stored = storage.head(key).await?.ok_or(UploadRefused::NotUploaded)?;
    let mismatch = if stored.size != row.bytes() {
        Some(format!("it was declared with {} bytes but has {}", row.bytes(), stored.size))
    } else if stored.media_type != row.media_type {
        Some(format!("it was declared as {} but uploaded as {}", row.media_type, stored.media_type))
    } else {
        check_content(storage, row, stored.sha256.take()).await?
    };
    Ok((stored, mismatch))
}

/// Compares the content with the declared type, if that is shown inline, and with the SHA-256 if one was declared.
/// `stored_sha256` is the checksum that the storage keeps, if it does.
async fn check_content(
    storage: &Storage,
    row: &FileRow,
    stored_sha256: Option<String>,
) -> Result<Option<String>, StoreError> {
    if let Some(format) = InlineType::of(&row.media_type) {
        // S3 refuses a range request for an empty object.
        let first = match row.bytes() {
            0 => Vec::new(),
            _ => storage.first_bytes(&row.object_key).await?,
        };
        if !format.is_format_of(&first) {
            let declared = &row.media_type;
            return Ok(Some(format!("it was declared as {declared}, but its content is not")));
        }
    }
    let Some(declared) = &row.sha256 else { return Ok(None) };
    let found = match stored_sha256 {
        Some(found) => found,
        // The storage keeps no checksums. Reads the object once, at most 8 MiB.
        None => storage.sha256(&row.object_key).await?,
    };
    Ok((found != *declared).then(|| "its SHA-256 differs from the declared one".to_owned()))
}
