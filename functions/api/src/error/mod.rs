//! The errors of the HTTP functions. The only place with their statuses and codes.

mod from_store;
mod problem;

use std::time::Duration;

use axum::http::StatusCode;
use protocol::{
    Code, json::JsonError, message_rules::MessageTextError, rate::OverBudget, token::TokenError,
};

pub use self::problem::{FieldError, Problem};

/// An error of a request. Answered as `application/problem+json` (RFC 9457).
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("{0}")]
    Json(#[from] JsonError),
    #[error("{field}: {detail}")]
    Invalid { field: &'static str, detail: String },
    #[error("the body must be JSON, with content-type: application/json")]
    NotJson,
    #[error("the body is larger than 64 KiB")]
    BodyTooLarge,
    #[error("the body did not arrive within 10 seconds")]
    BodyTooSlow,
    #[error("the body could not be read")]
    BodyBroken,
    #[error("there is no resource at this path")]
    NotFound,
    #[error("this resource does not support the method")]
    MethodNotAllowed,
    #[error("the address of the request is not a valid URI, or a header is not valid")]
    UriInvalid,

    #[error("send the access token as Authorization: Bearer")]
    TokenMissing,
    #[error("{0}")]
    Token(#[from] TokenError),
    #[error("the session has ended; log in again")]
    SessionRevoked,
    #[error("the name or the password is wrong")]
    BadCredentials,
    #[error("this account is disabled; ask the operator")]
    AccountDisabled,
    #[error("the refresh token is unknown or has expired; log in again")]
    RefreshInvalid,
    #[error("the refresh token was used before; all its successors are revoked, log in again")]
    RefreshReused,
    #[error("too many attempts; try again in {} s", whole_seconds(.0))]
    TooManyAttempts(Duration),
    #[error(
        "a refresh by cookie must come from a page of this server or of ALLOWED_ORIGINS; send refreshToken in the body"
    )]
    OriginNotAllowed,
    #[error("too many of your searches are running; wait until one has ended")]
    TooManySearches,
    #[error(transparent)]
    OverBudget(OverBudget),
    #[error("you created too many rooms; try again in {} s", whole_seconds(.0))]
    TooManyNewRooms(Duration),
    #[error("the password is wrong")]
    WrongPassword,
    #[error("you have no such session")]
    NoSuchSession,

    #[error("this name is taken")]
    NameTaken,
    #[error("a room with this name exists")]
    RoomExists,
    #[error("there is no such room")]
    NoSuchRoom,
    #[error("you are not a member of this room")]
    NotAMember,
    #[error("you are banned from this room")]
    Banned,
    #[error("this room has a password; join with it by POST /room/{{name}}/member")]
    PasswordRequired,
    #[error("only owners and moderators of the room may do this")]
    NotAModerator,
    #[error("only owners of the room may do this")]
    NotAnOwner,
    #[error("a room needs an owner: make another member an owner first")]
    LastOwner,
    #[error("there is no such user")]
    NoSuchUser,
    #[error("the user is not a member of this room")]
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
    #[error("the upload differs from its declaration: {0}; it was removed")]
    FileMismatch(String),

    #[error("your previous export is still running; wait until it has ended")]
    ExportRunning,
    #[error("too many exports are running; try again later")]
    TooManyExports,
    #[error("{0} does not answer; try again later")]
    Unavailable(&'static str),
    #[error("the message log is full until the archive has caught up; try again later")]
    StorageFull,
    #[error("the server is busy; try again later")]
    Busy,
    #[error("the request took too long; try again")]
    Timeout,
    #[error("internal error; the log has details under the request id")]
    Internal(#[source] anyhow::Error),
}

impl From<MessageTextError> for ApiError {
    fn from(error: MessageTextError) -> Self {
        Self::Invalid { field: "msg", detail: error.to_string() }
    }
}

impl ApiError {
    /// Status and code. Codes are stable.
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
            Self::UriInvalid => (S::BAD_REQUEST, "uri-invalid"),
            Self::TokenMissing => (S::UNAUTHORIZED, Code::TokenMissing.as_str()),
            Self::Token(TokenError::Expired) => (S::UNAUTHORIZED, Code::TokenExpired.as_str()),
            Self::Token(TokenError::WrongKind) => (S::UNAUTHORIZED, Code::TokenWrongKind.as_str()),
            Self::Token(TokenError::Invalid | TokenError::UnknownKey) => {
                (S::UNAUTHORIZED, Code::TokenInvalid.as_str())
            }
            Self::SessionRevoked => (S::UNAUTHORIZED, Code::SessionRevoked.as_str()),
            Self::BadCredentials => (S::UNAUTHORIZED, "bad-credentials"),
            Self::AccountDisabled => (S::FORBIDDEN, "account-disabled"),
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

    /// Seconds until the next try, for every 429 and 503.
    fn retry_after(&self, status: StatusCode) -> Option<u64> {
        match self {
            Self::TooManyAttempts(wait) => Some(whole_seconds(wait)),
            Self::OverBudget(OverBudget { wait, .. }) | Self::TooManyNewRooms(wait) => {
                Some(whole_seconds(wait).max(1))
            }
            Self::ExportRunning | Self::TooManyExports => Some(10),
            // The interval of the archive's sweeps.
            Self::StorageFull => Some(10),
            _ => match status {
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Some(1),
                _ => None,
            },
        }
    }
}

/// Rounded up, because a client that retries early is refused again.
fn whole_seconds(wait: &Duration) -> u64 {
    wait.as_millis().div_ceil(1_000) as u64
}

#[cfg(test)]
mod tests {
    use axum::{http::header, response::IntoResponse as _};

    use super::*;

    #[test]
    fn every_429_and_503_has_retry_after() {
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
