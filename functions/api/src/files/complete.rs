//! `POST /file/{id}/complete`: compares the uploaded object with the declaration, and marks the file as complete.

use std::time::Duration;

use axum::{Json, extract::State};
use chrono::Utc;
use protocol::{
    FileId,
    stored::FileRef,
    subject::{self, FILES_BUCKET},
};
use serde::Serialize;
use store::{db::on_tx, storage::UploadedObject};

use super::{
    file_row::{FileRow, find, is_member},
    inline_type::InlineType,
};
use crate::{
    docs::refusals::refusals,
    error::ApiError,
    extract::{AuthUser, FilePath, Trace},
    state::AppState,
};

/// How long the removal of a wrong object may take. The file's row is locked meanwhile.
const REMOVE_TIMEOUT: Duration = Duration::from_secs(3);

/// Response of POST /file/{id}/complete.
#[derive(Serialize, utoipa::ToSchema)]
pub struct CompletedFile {
    file: FileRef,
}

refusals!(CompleteRefusals: NotTheUploader, NotUploaded, FileMismatch("…".into()));

/// Complete an upload
#[utoipa::path(post, path = "/file/{id}/complete", operation_id = "complete_file", tag = "files",
    params(("id" = FileId, Path)), security(("access" = [])),
    responses((status = 200, body = CompletedFile, links(("download" = (operation_id = "download_file",
        parameters(("id" = "$response.body#/file/id")))))), CompleteRefusals))]
pub async fn complete(
    State(state): State<AppState>,
    user: AuthUser,
    Trace(trace): Trace,
    FilePath(id): FilePath,
) -> Result<Json<CompletedFile>, ApiError> {
    let row = find(&state, id).await?.ok_or(ApiError::NoSuchFile)?;
    if row.uploader_id != user.id().as_uuid() {
        return Err(ApiError::NotTheUploader);
    }
    if !is_member(&state, &row, user.id()).await? {
        return Err(ApiError::NoSuchFile);
    }
    if row.completed_at.is_none() {
        let (checked, mismatch) = check_upload(&state, &row).await?;
        match mismatch {
            None => set_complete(&state, &row).await?,
            Some(mismatch) => refuse_upload(&state, &row, &checked, mismatch).await?,
        }
    }
    let file = row.reference();
    // Gateways look up the files of messages in this bucket. Every call publishes, also for a file that was complete,
    // so that a client can repeat a call whose publish failed.
    let key = subject::file_key(row.room_id.into(), id);
    let payload = serde_json::to_vec(&file).map_err(|error| ApiError::Internal(error.into()))?;
    let put_id = uuid::Uuid::now_v7().to_string();
    let subject = subject::bucket_put(FILES_BUCKET, &key);
    state.store.log.publish(subject, &put_id, payload.into(), Some(trace)).await?.stored().await?;
    Ok(Json(CompletedFile { file }))
}

async fn set_complete(state: &AppState, row: &FileRow) -> Result<(), ApiError> {
    let mut tx = state.store.database.begin().await?;
    on_tx!(&mut tx, e => sqlx::query(
        "UPDATE file SET completed_at = $2 WHERE id = $1 AND completed_at IS NULL"
    ).bind(row.id).bind(Utc::now()).execute(e))?;
    Ok(tx.commit().await?)
}

/// Removes the object that was checked, because it differs from the declaration. A later object must stay: a concurrent
/// request may have removed the checked one, and another upload may have followed. The row lock excludes a concurrent
/// completion, and while the object exists, the storage accepts no other one (`if-none-match: *`).
async fn refuse_upload(
    state: &AppState,
    row: &FileRow,
    checked: &UploadedObject,
    mismatch: String,
) -> Result<(), ApiError> {
    let mut tx = state.store.database.begin().await?;
    let incomplete = on_tx!(&mut tx, e => sqlx::query(
        "UPDATE file SET completed_at = NULL WHERE id = $1 AND completed_at IS NULL"
    ).bind(row.id).execute(e))?;
    if incomplete == 0 {
        // Another object was uploaded and completed since.
        return Ok(());
    }
    let removal = async {
        let stored = state.storage.head(&row.object_key).await?;
        if stored.is_some_and(|stored| stored.version == checked.version) {
            state.storage.delete(&row.object_key).await?;
        }
        Ok::<_, ApiError>(())
    };
    let outcome = tokio::time::timeout(REMOVE_TIMEOUT, removal).await;
    outcome.map_err(|_| ApiError::Unavailable("the storage"))??;
    tx.commit().await?;
    Err(ApiError::FileMismatch(mismatch))
}

/// Returns the uploaded object and, if it differs from the declaration, a description of the difference.
async fn check_upload(
    state: &AppState,
    row: &FileRow,
) -> Result<(UploadedObject, Option<String>), ApiError> {
    let key = &row.object_key;
    let mut stored = state.storage.head(key).await?.ok_or(ApiError::NotUploaded)?;
    let mismatch = if stored.size != row.bytes() {
        Some(format!("it was declared with {} bytes but has {}", row.bytes(), stored.size))
    } else if stored.media_type != row.media_type {
        Some(format!("it was declared as {} but uploaded as {}", row.media_type, stored.media_type))
    } else {
        check_content(state, row, stored.sha256.take()).await?
    };
    Ok((stored, mismatch))
}

/// Compares the content with the declared type, if that is shown inline, and with the SHA-256 if one was declared.
/// `stored_sha256` is the checksum that the storage keeps, if it does.
async fn check_content(
    state: &AppState,
    row: &FileRow,
    stored_sha256: Option<String>,
) -> Result<Option<String>, ApiError> {
    if let Some(format) = InlineType::of(&row.media_type) {
        // S3 refuses a range request for an empty object.
        let first = match row.bytes() {
            0 => Vec::new(),
            _ => state.storage.first_bytes(&row.object_key).await?,
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
        None => state.storage.sha256(&row.object_key).await?,
    };
    Ok((found != *declared).then(|| "its SHA-256 differs from the declared one".to_owned()))
}
