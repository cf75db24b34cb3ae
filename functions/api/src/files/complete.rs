//! `POST /file/{id}/complete`: compares the upload with its declaration.

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
    sniffing,
};
use crate::{
    docs::refusals::refusals,
    error::ApiError,
    extract::{AuthUser, FilePath, Trace},
    state::AppState,
};

/// How long the lock of a file's row is held for the storage to remove its object.
const REMOVE_WITHIN: Duration = Duration::from_secs(3);

/// A file that is complete.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Completed {
    file: FileRef,
}

refusals!(NotCompleted: NotTheUploader, NotUploaded, FileMismatch("…".into()));

/// Say that a file is uploaded
#[utoipa::path(post, path = "/file/{id}/complete", tag = "files",
    params(("id" = FileId, Path)), security(("access" = [])),
    responses((status = 200, body = Completed, links(("download" = (operation_id = "download",
        parameters(("id" = "$response.body#/file/id")))))), NotCompleted))]
pub async fn complete(
    State(state): State<AppState>,
    user: AuthUser,
    Trace(trace): Trace,
    FilePath(id): FilePath,
) -> Result<Json<Completed>, ApiError> {
    let row = find(&state, id).await?.ok_or(ApiError::NoSuchFile)?;
    if row.uploader_id != user.id().as_uuid() {
        return Err(ApiError::NotTheUploader);
    }
    if !is_member(&state, &row, user.id()).await? {
        return Err(ApiError::NoSuchFile);
    }
    if row.completed_at.is_none() {
        let (checked, mismatch) = check(&state, &row).await?;
        match mismatch {
            None => set_complete(&state, &row).await?,
            Some(mismatch) => refuse(&state, &row, &checked, mismatch).await?,
        }
    }
    let file = row.reference();
    // Gateways look a message's file up here. Put again by every call: a lost answer is repaired by
    // asking again.
    let key = subject::file_key(row.room_id.into(), id);
    let payload = serde_json::to_vec(&file).map_err(|error| ApiError::Internal(error.into()))?;
    let put_id = uuid::Uuid::now_v7().to_string();
    let subject = subject::bucket_put(FILES_BUCKET, &key);
    state.store.log.publish(subject, &put_id, payload.into(), Some(trace)).await?.stored().await?;
    Ok(Json(Completed { file }))
}

async fn set_complete(state: &AppState, row: &FileRow) -> Result<(), ApiError> {
    let mut tx = state.store.database.begin().await?;
    on_tx!(&mut tx, e => sqlx::query(
        "UPDATE file SET completed_at = $2 WHERE id = $1 AND completed_at IS NULL"
    ).bind(row.id).bind(Utc::now()).execute(e))?;
    Ok(tx.commit().await?)
}

/// Removes an object that is not what was declared, and no other: a concurrent request may have removed it,
/// and a third one completed the upload that followed. The row lock excludes a completion; while the object
/// exists, the storage accepts no other one (`if-none-match: *`).
async fn refuse(
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
        // Completed since, with another object.
        return Ok(());
    }
    let removing = async {
        let stored = state.storage.head(&row.object_key).await?;
        if stored.is_some_and(|stored| stored.version == checked.version) {
            state.storage.delete(&row.object_key).await?;
        }
        Ok::<_, ApiError>(())
    };
    let removed = tokio::time::timeout(REMOVE_WITHIN, removing).await;
    removed.map_err(|_| ApiError::Unavailable("the storage"))??;
    tx.commit().await?;
    Err(ApiError::FileMismatch(mismatch))
}

/// The uploaded object, and how it differs from the declaration.
async fn check(
    state: &AppState,
    row: &FileRow,
) -> Result<(UploadedObject, Option<String>), ApiError> {
    let key = &row.object_key;
    let mut stored = state.storage.head(key).await?.ok_or(ApiError::NotUploaded)?;
    let mismatch = if stored.size != row.bytes() {
        Some(format!("declared with {} bytes, it has {}", row.bytes(), stored.size))
    } else if stored.media_type != row.media_type {
        Some(format!("declared as {}, uploaded as {}", row.media_type, stored.media_type))
    } else {
        check_content(state, row, stored.sha256.take()).await?
    };
    Ok((stored, mismatch))
}

async fn check_content(
    state: &AppState,
    row: &FileRow,
    known: Option<String>,
) -> Result<Option<String>, ApiError> {
    // A range of nothing is an error to S3.
    let first = match row.bytes() {
        0 => Vec::new(),
        _ => state.storage.first_bytes(&row.object_key).await?,
    };
    if let Err(mismatch) = sniffing::content_fits(&row.media_type, &first) {
        return Ok(Some(mismatch));
    }
    let Some(declared) = &row.sha256 else { return Ok(None) };
    let found = match known {
        Some(found) => found,
        // A storage that keeps no checksums: at most 8 MiB are read, once.
        None => state.storage.sha256(&row.object_key).await?,
    };
    Ok((found != *declared).then(|| "its SHA-256 is another".to_owned()))
}
