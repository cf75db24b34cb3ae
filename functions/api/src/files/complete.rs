//! `POST /file/{id}/complete`: compares the uploaded object with the declaration, and marks the file as complete.

use axum::{Json, extract::State};
use protocol::{FileId, stored::FileRef};
use serde::Serialize;
use store::uploads;

use super::file_row::{find, is_member};
use crate::{
    docs::refusals::refusals,
    error::ApiError,
    extract::{AuthUser, FilePath, Trace},
    state::AppState,
};

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
    let file = uploads::complete(&state.store, state.storage()?, &row, trace).await?;
    Ok(Json(CompletedFile { file }))
}
