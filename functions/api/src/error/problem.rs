//! The response of an error: `application/problem+json` (RFC 9457).

use std::borrow::Cow;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use protocol::json::JsonError;
use serde::Serialize;

use super::ApiError;

/// The body of every error response.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// Always `about:blank`, because `code` identifies the problem.
    #[serde(rename = "type")]
    #[schema(pattern = "^about:blank$")]
    kind: &'static str,
    /// The reason phrase of the status.
    title: Cow<'static, str>,
    status: u16,
    /// For people: what was refused, and what to do.
    detail: String,
    /// For programs: stable, in kebab-case.
    code: &'static str,
    /// The invalid fields of the body or the query.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
}

/// An invalid field.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct FieldError {
    field: String,
    detail: String,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code) = self.kind();
        if let Self::Internal(error) = &self {
            tracing::error!(error = format!("{error:#}"), "a request failed");
        }
        let problem = Problem {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or_default().into(),
            status: status.as_u16(),
            detail: self.to_string(),
            code,
            errors: self.errors(),
        };
        // Serializing fails only for maps with keys that are not strings.
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after(status) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl ApiError {
    fn errors(&self) -> Vec<FieldError> {
        match self {
            Self::Json(JsonError { field: Some(field), detail, .. }) => {
                vec![FieldError { field: field.clone(), detail: detail.clone() }]
            }
            Self::Invalid { field, detail } => {
                vec![FieldError { field: (*field).to_owned(), detail: detail.clone() }]
            }
            _ => Vec::new(),
        }
    }
}
