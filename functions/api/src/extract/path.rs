//! Names and ids in the path.

use std::str::FromStr;

use axum::{
    extract::{FromRequestParts, Path},
    http::request::Parts,
};
use protocol::{FileId, RoomName, SessionId, UserId};

use crate::{error::ApiError, state::AppState};

/// The `{name}` of a path. An invalid name is answered like an unknown room.
pub struct RoomPath(pub RoomName);

impl FromRequestParts<AppState> for RoomPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        parse_path(parts, state).await.map(Self).ok_or(ApiError::NoSuchRoom)
    }
}

/// The `{name}` and `{userId}` of a path.
pub struct MemberPath(pub RoomName, pub UserId);

impl<S: Send + Sync> FromRequestParts<S> for MemberPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::<(String, String)>::from_request_parts(parts, state).await;
        let Path((room, user)) = path.map_err(|_| ApiError::NoSuchRoom)?;
        let room = room.parse().map_err(|_| ApiError::NoSuchRoom)?;
        Ok(Self(room, user.parse().map_err(|_| ApiError::NoSuchMember)?))
    }
}

/// The `{id}` of a session's path. An invalid id is answered like an unknown session.
pub struct SessionPath(pub SessionId);

impl FromRequestParts<AppState> for SessionPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        parse_path(parts, state).await.map(Self).ok_or(ApiError::NoSuchSession)
    }
}

/// The `{id}` of a file's path. An invalid id is answered like an unknown file.
pub struct FilePath(pub FileId);

impl FromRequestParts<AppState> for FilePath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        parse_path(parts, state).await.map(Self).ok_or(ApiError::NoSuchFile)
    }
}

async fn parse_path<T: FromStr>(parts: &mut Parts, state: &AppState) -> Option<T> {
    let Path(text) = Path::<String>::from_request_parts(parts, state).await.ok()?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, extract::Request, response::IntoResponse, routing};
    use proptest::prelude::*;
    use tower::ServiceExt as _;

    use super::*;

    async fn get_member(room: &str, user: &str) -> (u16, String) {
        let percent = |text: &str| text.bytes().map(|b| format!("%{b:02X}")).collect::<String>();
        let path = format!("/room/{}/member/{}", percent(room), percent(user));
        let answer =
            |MemberPath(room, user)| async move { format!("{room}/{user}").into_response() };
        let router = Router::new().route("/room/{name}/member/{userId}", routing::get(answer));
        let answer = router.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        let body = axum::body::to_bytes(answer.into_body(), 1_000).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    proptest! {
        /// Includes the characters with a meaning in a URL: `/`, `?`, `#`, `%`.
        #[test]
        fn a_member_path_is_parsed_or_answered_with_404(
            room in "[a-zA가-힣/?#%.]{1,9}|\\PC{1,70}",
            is_id: bool,
            text in "\\PC{1,40}",
        ) {
            let user = if is_id { UserId::generate().to_string() } else { text };
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (status, body) = runtime.block_on(get_member(&room, &user));
            match (room.parse::<RoomName>(), user.parse::<UserId>()) {
                (Ok(room), Ok(user)) => prop_assert_eq!((status, body), (200, format!("{room}/{user}"))),
                (Err(_), _) => prop_assert!(status == 404 && body.contains("no-such-room"), "{} {}", status, body),
                (_, Err(_)) => prop_assert!(status == 404 && body.contains("no-such-member"), "{} {}", status, body),
            }
        }
    }
}
