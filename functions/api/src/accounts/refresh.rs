//! `POST /login/refresh`: a refresh token is good once. Used again, somebody has a copy, and the
//! whole family, which is the session, is revoked (RFC 9700, section 4.14.2).
//!
//! A lost answer and a second tab look like a copy too. So a spent token is answered with the same successor for a
//! short grace, as long as nobody has used the successor. Only hashes are stored, so the successor is derived: from
//! the spent token and a random salt, which is stored with the spent token's hash.

use axum::{Json, extract::State, http::HeaderMap};
use chrono::{DateTime, TimeDelta, Utc};
use protocol::SessionId;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use store::db::{Tx, on_tx};
use uuid::Uuid;

use super::{
    cookie, sessions,
    tokens::{TOKEN_BYTES, Tokens, hash, store_refresh_token, successor},
    user::UserRow,
};
use crate::{
    docs::refusals::refusals,
    error::ApiError,
    extract::{Caller, MaybeBody, Trace},
    state::AppState,
};

/// How long a spent token gets its successor again.
const GRACE: TimeDelta = TimeDelta::seconds(10);

/// The refresh token of a pair.
#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Refresh {
    /// Without it, the cookie `refreshToken` that a login set.
    #[schema(value_type = Option<String>)]
    refresh_token: Option<SecretString>,
}

#[derive(sqlx::FromRow)]
struct Found {
    session_id: Uuid,
    #[sqlx(flatten)]
    user: UserRow,
    expires_at: DateTime<Utc>,
    used_at: Option<DateTime<Utc>>,
    /// Missing when a version before this column spent the token.
    successor_salt: Option<Vec<u8>>,
    revoked_at: Option<DateTime<Utc>>,
}

refusals!(NotRefreshed: RefreshInvalid, RefreshReused, OriginNotAllowed);

/// Take a new pair of tokens
#[utoipa::path(post, path = "/login/refresh", tag = "accounts", request_body = Option<Refresh>,
    params(("refreshToken" = Option<String>, Cookie,
        description = "What a login set. It counts without `refreshToken` in the body, and only from a page of this \
            server or of an allowed origin, as `Origin` or `Sec-Fetch-Site` tell")),
    responses((status = 200, body = Tokens,
        headers(("set-cookie" = String, description = "Keeps the cookie `refreshToken`"))), NotRefreshed))]
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
    // One statement spends it: of two at once, one finds it spent.
    let spent_now = on_tx!(&mut tx, e => sqlx::query(
        "UPDATE refresh_token SET used_at = $2, successor_salt = $3 WHERE hash = $1 AND used_at IS NULL"
    ).bind(hash(token)).bind(Utc::now()).bind(&salt[..]).execute(e))?;
    let found: Option<Found> = on_tx!(&mut tx, e => sqlx::query_as(
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
        metrics::counter!("refreshes_repeated_total").increment(1);
        next
    } else {
        sessions::revoke(&mut tx, session).await?;
        tx.commit().await?;
        return Err(ApiError::RefreshReused);
    };
    // Locks the session: whoever ends it at the same time does so before, and this finds it ended, or after.
    let renewed = on_tx!(&mut tx, e => sqlx::query(
        "UPDATE session SET used_at = $2, user_agent = $3 WHERE id = $1 AND revoked_at IS NULL"
    ).bind(found.session_id).bind(Utc::now()).bind(caller.user_agent).execute(e))?;
    if renewed == 0 {
        return Err(ApiError::RefreshInvalid);
    }
    let tokens = Tokens::new(&state, session, found.user, next)?;
    tx.commit().await?;
    Ok(tokens.answer(&state))
}

/// What a spent token was answered with, if it may be given again.
async fn unused_successor(
    tx: &mut Tx,
    token: &str,
    found: &Found,
) -> Result<Option<String>, ApiError> {
    let Some((used_at, salt)) = found.used_at.zip(found.successor_salt.as_deref()) else {
        return Ok(None);
    };
    if found.revoked_at.is_some() || Utc::now() - used_at > GRACE {
        return Ok(None);
    }
    let next = successor(token, salt)?;
    let unused: Option<i32> = on_tx!(tx, e => sqlx::query_scalar(
        "SELECT 1 FROM refresh_token WHERE hash = $1 AND used_at IS NULL"
    ).bind(hash(&next)).fetch_optional(e))?;
    Ok(unused.map(|_| next))
}
