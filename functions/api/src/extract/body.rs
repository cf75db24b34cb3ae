//! The request body as JSON.

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::{
        FromRequest, Request,
        rejection::{BytesRejection, FailedToBufferBody},
    },
    http::header,
};
use serde::de::DeserializeOwned;

use crate::{error::ApiError, state::AppState};

/// Time limit for a body to arrive. Shorter than that of the request, so that the error names the cause.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// The body: a JSON object.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest<AppState> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let content_type = request.headers().get(header::CONTENT_TYPE);
        let is_json = content_type.and_then(|value| value.to_str().ok()).is_some_and(|value| {
            let essence = value.split(';').next().unwrap_or_default().trim();
            essence.eq_ignore_ascii_case("application/json")
        });
        if !is_json {
            return Err(ApiError::NotJson);
        }
        Ok(Self(protocol::json::parse(&read(request, state).await?)?))
    }
}

async fn read(request: Request, state: &AppState) -> Result<Bytes, ApiError> {
    let body = tokio::time::timeout(BODY_WITHIN, Bytes::from_request(request, state)).await;
    body.map_err(|_| ApiError::BodyTooSlow)?.map_err(|error| match error {
        BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
            ApiError::BodyTooLarge
        }
        _ => ApiError::BodyBroken,
    })
}

/// A body that may be left out, which gives the default value.
pub struct MaybeBody<T>(pub T);

impl<T: DeserializeOwned + Default> FromRequest<AppState> for MaybeBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        if request.headers().contains_key(header::CONTENT_TYPE) {
            return Body::from_request(request, state).await.map(|Body(body)| Self(body));
        }
        let is_empty = read(request, state).await?.is_empty();
        if is_empty { Ok(Self(T::default())) } else { Err(ApiError::NotJson) }
    }
}
