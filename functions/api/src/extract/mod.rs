//! Extractors: parsed parts of a request. Their errors are [`ApiError`]s.

mod body;
mod path;
mod query;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{header, request::Parts},
};
use protocol::{SessionId, UserId, token::Access};
use service::{client, trace::TraceParent};
use store::db::on_db;

pub use self::{
    body::{Body, MaybeBody},
    path::{FilePath, MemberPath, RoomPath, SessionPath},
    query::Params,
};
use crate::{error::ApiError, state::AppState};

/// The authenticated user: the access token is valid and its session has not ended. A handler without this extractor
/// is public.
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
        // Not axum-extra's `TypedHeader`: its crate headers would add second versions of base64 and sha1.
        let header = parts.headers.get(header::AUTHORIZATION).ok_or(ApiError::TokenMissing)?;
        let (scheme, token) = header
            .to_str()
            .ok()
            .and_then(|text| text.split_once(' '))
            .ok_or(ApiError::TokenMissing)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(ApiError::TokenMissing);
        }
        let access = state.keys.verifier.access(token.trim())?;
        let session = access.session.as_uuid();
        let active: Option<i32> = on_db!(&state.store.database, e => sqlx::query_scalar(
            "SELECT 1 FROM session WHERE id = $1 AND revoked_at IS NULL"
        ).bind(session).fetch_optional(e))?;
        active.map(|_| Self { access }).ok_or(ApiError::SessionRevoked)
    }
}

/// The client of a request.
#[derive(Debug, Clone)]
pub struct Caller {
    pub address: IpAddr,
    /// Shown to the user in the list of sessions.
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

/// The trace of the request, which [`crate::layers`] stored in it.
pub struct Trace(pub TraceParent);

impl FromRequestParts<AppState> for Trace {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, ApiError> {
        Ok(Self(parts.extensions.get().copied().unwrap_or_else(TraceParent::root)))
    }
}
