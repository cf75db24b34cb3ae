//! `POST /login/refresh`: refresh-token rotation. A refresh token can be used once. A second use means that the token
//! was copied, so the whole token family, which is the session, is revoked (RFC 9700, section 4.14.2).
//!
//! A client that lost the response, or a second browser tab, also sends a token twice. For a grace period, a spent
//! token is therefore answered with the same successor again, unless the successor was used. Only hashes of tokens
//! are stored, so the successor is derived from the spent token and a random salt, which is stored with the spent
//! token's hash.

use axum::{Json, extract::State, http::HeaderMap};
use chrono::{DateTime, TimeDelta, Utc};
use protocol::SessionId;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use store::{
    db::{Tx, on_tx},
    sessions,
};
use uuid::Uuid;

use super::{
    cookie,
    tokens::{TOKEN_BYTES, Tokens, hash, store_refresh_token, successor},
    user::UserRow,
};
use crate::{
    docs::refusals::refusals,
    error::ApiError,
    extract::{Caller, MaybeBody, Trace},
    state::AppState,
};

/// How long after its use a token is answered with the same successor again.
const REUSE_GRACE: TimeDelta = TimeDelta::seconds(10);

/// Request body of POST /login/refresh.
#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Refresh {
    /// Default: the cookie `refreshToken` that a login set.
    #[schema(value_type = Option<String>)]
    refresh_token: Option<SecretString>,
}

#[derive(sqlx::FromRow)]
struct RefreshTokenRow {
    session_id: Uuid,
    #[sqlx(flatten)]
    user: UserRow,
    expires_at: DateTime<Utc>,
    used_at: Option<DateTime<Utc>>,
    /// `None` if the token is unspent, or was spent by a version of this program without this column.
    successor_salt: Option<Vec<u8>>,
    revoked_at: Option<DateTime<Utc>>,
}

refusals!(RefreshRefusals: RefreshInvalid, RefreshReused, OriginNotAllowed);

/// Get a new access token and refresh token
#[utoipa::path(post, path = "/login/refresh", operation_id = "refresh_tokens", tag = "accounts",
    request_body = Option<Refresh>,
    params(("refreshToken" = Option<String>, Cookie,
        description = "Set by a login. Used if the body has no `refreshToken`, and accepted only from a page of this \
            server or of an allowed origin, according to `Origin` and `Sec-Fetch-Site`")),
    responses((status = 200, body = Tokens,
        headers(("set-cookie" = String, description = "Sets the cookie `refreshToken`"))), RefreshRefusals))]
pub async fn refresh(
    State(state): State<AppState>,
    caller: Caller,
    Trace(trace): Trace,
    headers: HeaderMap,
    MaybeBody(Refresh { refresh_token }): MaybeBody<Refresh>,
) -> Result<(HeaderMap, Json<Tokens>), ApiError> {
    let token = match &refresh_token {
        Some(token) => token.expose_secret(),
        None => {
            let token = cookie::find(&headers).ok_or(ApiError::RefreshInvalid)?;
            cookie::check_origin(&headers, &state.config)?;
            token
        }
    };
    let salt = rand::random::<[u8; TOKEN_BYTES]>();
    let mut tx = state.begin(trace).await?;
    // One statement tests and marks the token, so only one of two concurrent requests spends it.
    let spent_now = on_tx!(&mut tx, e => sqlx::query(
        "UPDATE refresh_token SET used_at = $2, successor_salt = $3 WHERE hash = $1 AND used_at IS NULL"
    ).bind(hash(token)).bind(Utc::now()).bind(&salt[..]).execute(e))?;
    let found: Option<RefreshTokenRow> = on_tx!(&mut tx, e => sqlx::query_as(
        "SELECT t.session_id, t.expires_at, t.used_at, t.successor_salt, s.revoked_at,
           a.id, a.name, a.display_name, a.created_at
         FROM refresh_token t
         JOIN session s ON s.id = t.session_id
         JOIN account a ON a.id = s.user_id
         WHERE t.hash = $1"
    ).bind(hash(token)).fetch_optional(e))?;
    let Some(found) = found else { return Err(ApiError::RefreshInvalid) };
    let session = SessionId::from(found.session_id);
    let next = if spent_now > 0 {
        if found.revoked_at.is_some() || found.expires_at < Utc::now() {
            return Err(ApiError::RefreshInvalid);
        }
        let next = successor(token, &salt)?;
        store_refresh_token(&mut tx, session, &next).await?;
        next
    } else if let Some(next) = unused_successor(&mut tx, token, &found).await? {
        metrics::counter!("chat_refreshes_repeated_total").increment(1);
        next
    } else {
        sessions::revoke(&mut tx, session).await?;
        tx.commit().await?;
        return Err(ApiError::RefreshReused);
    };
    // Locks the session row, so a concurrent revocation comes either before, and no row is updated, or after the
    // commit, and also revokes the new token.
    let renewed = on_tx!(&mut tx, e => sqlx::query(
        "UPDATE session SET used_at = $2, user_agent = $3 WHERE id = $1 AND revoked_at IS NULL"
    ).bind(found.session_id).bind(Utc::now()).bind(caller.user_agent).execute(e))?;
    if renewed == 0 {
        return Err(ApiError::RefreshInvalid);
    }
    let tokens = Tokens::new(&state, session, found.user, next)?;
    tx.commit().await?;
    Ok(tokens.into_response_parts(&state))
}

/// The successor of a spent token, if it may be returned again: within the grace period, and while it is unused.
async fn unused_successor(
    tx: &mut Tx,
    token: &str,
    found: &RefreshTokenRow,
) -> Result<Option<String>, ApiError> {
    let Some((used_at, salt)) = found.used_at.zip(found.successor_salt.as_deref()) else {
        return Ok(None);
    };
    if found.revoked_at.is_some() || Utc::now() - used_at > REUSE_GRACE {
        return Ok(None);
    }
    let next = successor(token, salt)?;
    let unused: Option<i32> = on_tx!(tx, e => sqlx::query_scalar(
        "SELECT 1 FROM refresh_token WHERE hash = $1 AND used_at IS NULL"
    ).bind(hash(&next)).fetch_optional(e))?;
    Ok(unused.map(|_| next))
}
