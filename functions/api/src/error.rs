//! Every refusal of the HTTP functions, with its status and its code in one place.

use std::{borrow::Cow, time::Duration};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use protocol::{
    Code, json::JsonError, message_rules::MessageTextError, rate::OverBudget, token::TokenError,
};
use serde::Serialize;
use service::roomlog::LogError;
use store::{SearchRefused, StoreError, Throttled, TooManyNewRooms};

/// Why a request was refused. Answered as `application/problem+json` (RFC 9457).
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("{0}")]
    Json(#[from] JsonError),
    #[error("{field}: {detail}")]
    Invalid { field: &'static str, detail: String },
    #[error("the body must be JSON: send content-type: application/json")]
    NotJson,
    #[error("the body is larger than 64 KiB")]
    BodyTooLarge,
    #[error("the body did not arrive in 10 seconds")]
    BodyTooSlow,
    #[error("the body could not be read")]
    BodyBroken,
    #[error("there is nothing at this address")]
    NotFound,
    #[error("this address does not take that method")]
    MethodNotAllowed,

    #[error("send the access token as Authorization: Bearer")]
    TokenMissing,
    #[error("{0}")]
    Token(#[from] TokenError),
    #[error("the session is over; log in again")]
    SessionRevoked,
    #[error("name or password is wrong")]
    BadCredentials,
    #[error("the refresh token is not known or has expired; log in again")]
    RefreshInvalid,
    #[error("the refresh token was used before; all its successors are revoked, log in again")]
    RefreshReused,
    #[error("too many attempts; try again in {} s", whole_seconds(.0))]
    TooManyAttempts(Duration),
    #[error(
        "a refresh by cookie must come from a page of this server or of ALLOWED_ORIGINS; send refreshToken in the body"
    )]
    OriginNotAllowed,
    #[error("too many searches of yours are running; wait for one to end")]
    TooManySearches,
    #[error(transparent)]
    OverBudget(OverBudget),
    #[error("you made too many rooms; try again in {} s", whole_seconds(.0))]
    TooManyNewRooms(Duration),
    #[error("the password is wrong")]
    WrongPassword,
    #[error("you have no such session")]
    NoSuchSession,

    #[error("this name is taken")]
    NameTaken,
    #[error("a room of this name exists")]
    RoomExists,
    #[error("there is no such room")]
    NoSuchRoom,
    #[error("you are not a member of this room")]
    NotAMember,
    #[error("you are banned from this room")]
    Banned,
    #[error("this room has a password; give it to POST /room/{{name}}/member")]
    PasswordRequired,
    #[error("only owners and moderators may do this")]
    NotAModerator,
    #[error("only owners may do this")]
    NotAnOwner,
    #[error("a room keeps an owner: make somebody else one first")]
    LastOwner,
    #[error("there is no such user")]
    NoSuchUser,
    #[error("that user is not a member of this room")]
    NoSuchMember,
    #[error("only the creator of a room may delete it")]
    NotTheCreator,
    #[error("there is no such file")]
    NoSuchFile,
    #[error("only the uploader of a file may do this")]
    NotTheUploader,
    #[error("a file may have at most {0} bytes")]
    FileTooLarge(u64),
    #[error("the file has not been uploaded")]
    NotUploaded,
    #[error("the upload is not what was declared: {0}; it was removed")]
    FileMismatch(String),

    #[error("an export of yours is running; wait until it has ended")]
    ExportRunning,
    #[error("too many exports are running right now; try again")]
    TooManyExports,
    #[error("{0} does not answer right now; try again")]
    Unavailable(&'static str),
    #[error("the message log is full until it is archived; try again")]
    StorageFull,
    #[error("there is too much to do right now; try again")]
    Busy,
    #[error("it took too long; try again")]
    Timeout,
    #[error("something went wrong on our side; the request id finds it in the log")]
    Internal(#[source] anyhow::Error),
}

impl From<MessageTextError> for ApiError {
    fn from(error: MessageTextError) -> Self {
        Self::Invalid { field: "msg", detail: error.to_string() }
    }
}

impl ApiError {
    /// The status and the stable code.
    pub fn kind(&self) -> (StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::Json(bad) if bad.code == Code::MalformedJson => {
                (S::BAD_REQUEST, bad.code.as_str())
            }
            Self::Json(bad) => (S::UNPROCESSABLE_ENTITY, bad.code.as_str()),
            Self::Invalid { .. } => (S::UNPROCESSABLE_ENTITY, Code::InvalidValue.as_str()),
            Self::NotJson => (S::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type"),
            Self::BodyTooLarge => (S::PAYLOAD_TOO_LARGE, "body-too-large"),
            Self::BodyTooSlow => (S::REQUEST_TIMEOUT, "body-too-slow"),
            Self::BodyBroken => (S::BAD_REQUEST, "body-broken"),
            Self::NotFound => (S::NOT_FOUND, "not-found"),
            Self::MethodNotAllowed => (S::METHOD_NOT_ALLOWED, "method-not-allowed"),
            Self::TokenMissing => (S::UNAUTHORIZED, Code::TokenMissing.as_str()),
            Self::Token(TokenError::Expired) => (S::UNAUTHORIZED, Code::TokenExpired.as_str()),
            Self::Token(TokenError::WrongKind) => (S::UNAUTHORIZED, Code::TokenWrongKind.as_str()),
            Self::Token(TokenError::Invalid | TokenError::UnknownKey) => {
                (S::UNAUTHORIZED, Code::TokenInvalid.as_str())
            }
            Self::SessionRevoked => (S::UNAUTHORIZED, Code::SessionRevoked.as_str()),
            Self::BadCredentials => (S::UNAUTHORIZED, "bad-credentials"),
            Self::RefreshInvalid => (S::UNAUTHORIZED, "refresh-invalid"),
            Self::RefreshReused => (S::UNAUTHORIZED, "refresh-reused"),
            Self::TooManyAttempts(_) => (S::TOO_MANY_REQUESTS, "too-many-attempts"),
            Self::OriginNotAllowed => (S::FORBIDDEN, "origin-not-allowed"),
            Self::TooManySearches => (S::TOO_MANY_REQUESTS, "too-many-searches"),
            Self::OverBudget(over) => (S::TOO_MANY_REQUESTS, over.budget.code().as_str()),
            Self::TooManyNewRooms(_) => (S::TOO_MANY_REQUESTS, "too-many-new-rooms"),
            Self::WrongPassword => (S::FORBIDDEN, "wrong-password"),
            Self::NoSuchSession => (S::NOT_FOUND, "no-such-session"),
            Self::NameTaken => (S::CONFLICT, "name-taken"),
            Self::RoomExists => (S::CONFLICT, "room-exists"),
            Self::NoSuchRoom => (S::NOT_FOUND, "no-such-room"),
            Self::NotAMember => (S::FORBIDDEN, "not-a-member"),
            Self::Banned => (S::FORBIDDEN, "banned"),
            Self::PasswordRequired => (S::FORBIDDEN, "password-required"),
            Self::NotAnOwner => (S::FORBIDDEN, "not-an-owner"),
            Self::LastOwner => (S::CONFLICT, "last-owner"),
            Self::NoSuchUser => (S::NOT_FOUND, "no-such-user"),
            Self::NoSuchMember => (S::NOT_FOUND, "no-such-member"),
            Self::NotAModerator => (S::FORBIDDEN, "not-a-moderator"),
            Self::NotTheCreator => (S::FORBIDDEN, "not-the-creator"),
            Self::NoSuchFile => (S::NOT_FOUND, "no-such-file"),
            Self::NotTheUploader => (S::FORBIDDEN, "not-the-uploader"),
            Self::FileTooLarge(_) => (S::PAYLOAD_TOO_LARGE, "file-too-large"),
            Self::NotUploaded => (S::CONFLICT, "not-uploaded"),
            Self::FileMismatch(_) => (S::UNPROCESSABLE_ENTITY, "file-mismatch"),
            Self::ExportRunning => (S::TOO_MANY_REQUESTS, "export-running"),
            Self::TooManyExports => (S::SERVICE_UNAVAILABLE, "too-many-exports"),
            Self::Unavailable(_) => (S::SERVICE_UNAVAILABLE, Code::Unavailable.as_str()),
            Self::StorageFull => (S::SERVICE_UNAVAILABLE, Code::StorageFull.as_str()),
            Self::Busy => (S::SERVICE_UNAVAILABLE, Code::Busy.as_str()),
            Self::Timeout => (S::SERVICE_UNAVAILABLE, "timeout"),
            Self::Internal(_) => (S::INTERNAL_SERVER_ERROR, "internal"),
        }
    }

    /// Seconds after which to try again, where that may help: with every 429 and 503.
    fn retry_after(&self, status: StatusCode) -> Option<u64> {
        match self {
            Self::TooManyAttempts(wait) => Some(whole_seconds(wait)),
            Self::OverBudget(OverBudget { wait, .. }) | Self::TooManyNewRooms(wait) => {
                Some(whole_seconds(wait).max(1))
            }
            Self::ExportRunning | Self::TooManyExports => Some(10),
            // The archive sweeps this often.
            Self::StorageFull => Some(10),
            _ => match status {
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Some(1),
                _ => None,
            },
        }
    }

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

/// Rounded up: who comes a moment early is refused once more.
fn whole_seconds(wait: &Duration) -> u64 {
    wait.as_millis().div_ceil(1_000) as u64
}

/// What every refusal looks like.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// Always `about:blank`: `code` says which problem it is.
    #[serde(rename = "type")]
    #[schema(pattern = "^about:blank$")]
    kind: &'static str,
    /// The status in words.
    title: Cow<'static, str>,
    status: u16,
    /// For a person: what was refused and what to do.
    detail: String,
    /// For a program: stable, kebab-case.
    code: &'static str,
    /// The fields concerned, if the body or the query was refused for them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
}

/// One field that was refused.
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
        // The type has no map with keys of another type: it cannot fail.
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

/// The only place where failures of the store become refusals.
impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::DatabaseUnavailable(error) => {
                tracing::warn!(%error, "the database does not answer");
                Self::Unavailable("the database")
            }
            StoreError::StatementTimeout(error) => {
                tracing::warn!(%error, "a statement took too long");
                Self::Timeout
            }
            StoreError::Database(error) => Self::Internal(error.into()),
            StoreError::Log(error) => {
                tracing::warn!(%error, "the message log refused or did not answer");
                match error {
                    LogError::Unavailable(_) => Self::Unavailable("the message log"),
                    LogError::Full => Self::StorageFull,
                }
            }
            // Logged with its cause where it happened.
            StoreError::Storage(_) => Self::Unavailable("the storage"),
            StoreError::HashingBusy(_) | StoreError::SearchRefused(SearchRefused::TooMany) => {
                Self::Busy
            }
            StoreError::SearchRefused(SearchRefused::TooManyOfUser) => Self::TooManySearches,
            StoreError::Throttled(Throttled { wait }) => Self::TooManyAttempts(wait),
            StoreError::OverBudget(over) => Self::OverBudget(over),
            StoreError::TooManyNewRooms(TooManyNewRooms { wait }) => Self::TooManyNewRooms(wait),
            StoreError::Internal(error) => Self::Internal(error),
        }
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        StoreError::from(error).into()
    }
}

impl From<LogError> for ApiError {
    fn from(error: LogError) -> Self {
        StoreError::from(error).into()
    }
}

impl From<SearchRefused> for ApiError {
    fn from(error: SearchRefused) -> Self {
        StoreError::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_may_try_again_is_told_when() {
        use ApiError::*;
        for (error, seconds) in [
            (TooManyAttempts(Duration::from_millis(1_001)), "2"),
            (ExportRunning, "10"),
            (TooManyExports, "10"),
            (Unavailable("the database"), "1"),
            (StorageFull, "10"),
            (Busy, "1"),
            (Timeout, "1"),
        ] {
            let response = error.into_response();
            assert!(matches!(response.status().as_u16(), 429 | 503));
            assert_eq!(response.headers()[header::RETRY_AFTER], seconds);
        }
        assert!(!NotFound.into_response().headers().contains_key(header::RETRY_AFTER));
    }
}
