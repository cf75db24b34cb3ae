//! `GET /file/{id}`: redirects to a presigned URL of the storage, which is valid for minutes.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use protocol::{FileId, Timestamp};
use serde::Serialize;
use store::uploads::InlineType;

use super::{
    content_disposition::content_disposition,
    deletion,
    file_row::{find, is_member},
};
use crate::{
    error::ApiError,
    extract::{AuthUser, FilePath},
    state::AppState,
};

/// The link as JSON, for web pages: a navigation cannot send an Authorization header, so it cannot use the redirect.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DownloadLink {
    url: String,
    expires_at: Timestamp,
}

/// Download a file: a redirect, or with `Accept: application/json` the link itself
#[utoipa::path(get, path = "/file/{id}", operation_id = "download_file", tag = "files",
    params(("id" = FileId, Path)), security(("access" = [])),
    responses((status = 302), (status = 200, body = DownloadLink)))]
pub async fn download(
    State(state): State<AppState>,
    user: AuthUser,
    FilePath(id): FilePath,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let row = find(&state, id).await?.filter(|row| row.completed_at.is_some());
    let row = row.ok_or(ApiError::NoSuchFile)?;
    if !is_member(&state, &row, user.id()).await? || deletion::is_deleted(&state, &row).await? {
        return Err(ApiError::NoSuchFile);
    }
    let is_inline = InlineType::of(&row.media_type).is_some();
    let disposition = content_disposition(is_inline, &row.name);
    let link = state.storage()?.presign_get(&row.object_key, &disposition, &row.media_type).await?;
    let wants_json = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("application/json"));
    if wants_json {
        return Ok(
            Json(DownloadLink { url: link.url, expires_at: link.expires_at }).into_response()
        );
    }
    let location =
        HeaderValue::from_str(&link.url).map_err(|error| ApiError::Internal(error.into()))?;
    Ok((StatusCode::FOUND, [(header::LOCATION, location)]).into_response())
}
