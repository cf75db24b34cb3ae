//! What handlers take from a request: parsed, or refused with a problem.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
    time::Duration,
};

use axum::{
    body::Bytes,
    extract::{
        ConnectInfo, FromRequest, FromRequestParts, Path, Query, Request,
        rejection::{BytesRejection, FailedToBufferBody},
    },
    http::{header, request::Parts},
};
use protocol::{Code, FileId, RoomName, SessionId, UserId, json::JsonError, token::Access};
use serde::de::DeserializeOwned;
use service::{client, trace::TraceParent};
use store::db::on_db;

use crate::{error::ApiError, state::AppState};

/// How long a body may take to arrive: 64 KiB at most. Less than a request as a whole may take.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// A JSON object of exactly the fields of `T`.
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

/// The same where the body may be left out: then every field is.
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

/// A query of exactly the fields of `T`.
pub struct Params<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<AppState> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(params)) => Ok(Self(params)),
            Err(error) => Err(bad_query(&error.body_text()).into()),
        }
    }
}

/// Parses axum's message `Failed to deserialize query string: limit: …` into a field and a code: axum
/// reports them nowhere else.
fn bad_query(text: &str) -> JsonError {
    let detail = text.split_once("query string: ").map_or(text, |(_, rest)| rest);
    for (said, code) in [
        ("unknown field `", Code::UnknownField),
        ("duplicate field `", Code::DuplicateField),
        ("missing field `", Code::MissingField),
    ] {
        // In front of it the field's name may stand once more.
        let found = detail.find(said).map(|start| &detail[start..]);
        if let Some((detail, field)) = found.zip(found.and_then(|text| text.split('`').nth(1))) {
            return JsonError { code, field: Some(field.to_owned()), detail: detail.to_owned() };
        }
    }
    let (field, detail) = match detail.split_once(": ") {
        Some((field, detail)) if !field.contains(' ') => (field, detail),
        _ => ("query", detail),
    };
    let (field, detail) = (Some(field.to_owned()), detail.to_owned());
    JsonError { code: Code::InvalidValue, field, detail }
}

/// The `{name}` of a path. A text that is no valid name is answered like an unknown room.
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

/// The `{id}` of a session's path.
pub struct SessionPath(pub SessionId);

impl FromRequestParts<AppState> for SessionPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        parse_path(parts, state).await.map(Self).ok_or(ApiError::NoSuchSession)
    }
}

/// The `{id}` of a file's path. A text that is no id is answered like an unknown file.
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

/// The authenticated caller: an access token of a session that has not ended. A handler without this
/// extractor is public.
#[derive(Debug, Clone)]
pub struct AuthUser {
    pub access: Access,
}

impl AuthUser {
    pub fn id(&self) -> UserId {
        self.access.user
    }

    pub fn session(&self) -> SessionId {
        self.access.session
    }
}

impl FromRequestParts<AppState> for AuthUser {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let header = parts.headers.get(header::AUTHORIZATION).ok_or(ApiError::TokenMissing)?;
        let (scheme, token) = header
            .to_str()
            .ok()
            .and_then(|text| text.split_once(' '))
            .ok_or(ApiError::TokenMissing)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(ApiError::TokenMissing);
        }
        let access = state.verifier.access(token.trim())?;
        let session = access.session.as_uuid();
        let live: Option<i32> = on_db!(&state.store.database, e => sqlx::query_scalar(
            "SELECT 1 FROM session WHERE id = $1 AND revoked_at IS NULL"
        ).bind(session).fetch_optional(e))?;
        live.map(|_| Self { access }).ok_or(ApiError::SessionRevoked)
    }
}

/// Where a request comes from.
#[derive(Debug, Clone)]
pub struct Caller {
    pub address: IpAddr,
    /// What the program says it is, for its user to know it by.
    pub user_agent: Option<String>,
}

/// Characters of a `User-Agent` that are kept.
const USER_AGENT_CHARS: usize = 200;

impl FromRequestParts<AppState> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer);
        let peer = peer.unwrap_or(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0));
        let address = client::address(&parts.headers, peer, state.config.trusted_hops);
        let user_agent =
            parts.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        let user_agent = user_agent.map(|agent| agent.chars().take(USER_AGENT_CHARS).collect());
        Ok(Self { address, user_agent })
    }
}

/// The trace that the request belongs to; [`crate::layers`] put it there.
pub struct Trace(pub TraceParent);

impl FromRequestParts<AppState> for Trace {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, ApiError> {
        Ok(Self(parts.extensions.get().copied().unwrap_or_else(TraceParent::root)))
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, extract::Query, http::Uri, response::IntoResponse, routing};
    use proptest::prelude::*;
    use serde::Deserialize;
    use tower::ServiceExt as _;

    use super::*;
    use crate::pagination::Limit;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Paging {
        #[expect(dead_code, reason = "only parsed")]
        limit: Option<Limit>,
    }

    async fn of_member(room: &str, user: &str) -> (u16, String) {
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
        /// Also with what a path gives a meaning to: `/`, `?`, `#`, `%`.
        #[test]
        fn a_path_of_two_parts_is_both_or_names_nobody(
            room in "[a-zA가-힣/?#%.]{1,9}|\\PC{1,70}",
            is_id: bool,
            text in "\\PC{1,40}",
        ) {
            let user = if is_id { UserId::generate().to_string() } else { text };
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (status, body) = runtime.block_on(of_member(&room, &user));
            match (room.parse::<RoomName>(), user.parse::<UserId>()) {
                (Ok(room), Ok(user)) => prop_assert_eq!((status, body), (200, format!("{room}/{user}"))),
                (Err(_), _) => prop_assert!(status == 404 && body.contains("no-such-room"), "{} {}", status, body),
                (_, Err(_)) => prop_assert!(status == 404 && body.contains("no-such-member"), "{} {}", status, body),
            }
        }
    }

    #[test]
    fn a_bad_query_names_its_field() {
        for (query, code, field) in [
            ("limit=0", Code::InvalidValue, "limit"),
            ("limit=x", Code::InvalidValue, "limit"),
            ("limit=1&limit=2", Code::DuplicateField, "limit"),
            ("limit=1&page=2", Code::UnknownField, "page"),
        ] {
            let uri: Uri = format!("http://chat.example/room?{query}").parse().unwrap();
            let error = Query::<Paging>::try_from_uri(&uri).unwrap_err();
            let bad = bad_query(&error.body_text());
            assert_eq!((bad.code, bad.field.as_deref()), (code, Some(field)), "{query}: {bad}");
        }
        assert!(Query::<Paging>::try_from_uri(&Uri::from_static("/room?limit=200")).is_ok());
    }
}
