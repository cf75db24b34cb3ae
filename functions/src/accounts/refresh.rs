//! `POST /login/refresh`: a refresh token is good once. Used again, somebody has a copy, and the
//! whole family, which is the session, is revoked (RFC 9700, section 4.14.2).

use axum::{Json, extract::State as Shared, http::HeaderMap};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use protocol::SessionId;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{
    cookie,
    login::{self, Tokens},
    session,
    user::UserRow,
};
use crate::{
    db::{Tx, on_tx},
    docs::refusals::refusals,
    error::ApiError,
    extract::{Caller, MaybeBody, Trace},
    outbox,
    state::State,
};

/// A session that is not refreshed for this long has ended.
pub const REFRESH_WITHIN: TimeDelta = TimeDelta::days(30);

/// The refresh token of a pair.
#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Refresh {
    /// Without it, the cookie `refreshToken` that a login set.
    #[schema(value_type = Option<String>)]
    refresh_token: Option<SecretString>,
}

#[derive(sqlx::FromRow)]
struct Spent {
    session_id: Uuid,
    #[sqlx(flatten)]
    user: UserRow,
    expires_at: DateTime<Utc>,
    revoked_at: Option<DateTime<Utc>>,
}

fn hash(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

/// Makes a token of 256 random bits and stores its hash.
pub async fn store_new(tx: &mut Tx, session: SessionId) -> Result<String, ApiError> {
    let token = BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
    on_tx!(tx, e => sqlx::query(
        "INSERT INTO refresh_token (hash, session_id, expires_at) VALUES ($1, $2, $3)"
    )
    .bind(hash(&token))
    .bind(session.as_uuid())
    .bind(Utc::now() + REFRESH_WITHIN)
    .execute(e))?;
    Ok(token)
}

refusals!(NotRefreshed: RefreshInvalid, RefreshReused);

/// Take a new pair of tokens
#[utoipa::path(post, path = "/login/refresh", tag = "accounts", request_body = Option<Refresh>,
    params(("refreshToken" = Option<String>, Cookie,
        description = "What a login set. It counts without `refreshToken` in the body")),
    responses((status = 200, body = Tokens,
        headers(("set-cookie" = String, description = "Keeps the cookie `refreshToken`"))), NotRefreshed))]
pub async fn refresh(
    Shared(state): Shared<State>,
    caller: Caller,
    Trace(trace): Trace,
    headers: HeaderMap,
    MaybeBody(Refresh { refresh_token }): MaybeBody<Refresh>,
) -> Result<(HeaderMap, Json<Tokens>), ApiError> {
    let given = refresh_token.as_ref().map(ExposeSecret::expose_secret);
    let token = given.or_else(|| cookie::find(&headers)).ok_or(ApiError::RefreshInvalid)?;
    let hash = hash(token);
    let mut tx = state.database.begin().await?;
    // One statement spends it: of two at once, one finds it spent.
    let was_fresh = on_tx!(&mut tx, e => sqlx::query(
        "UPDATE refresh_token SET used_at = $2 WHERE hash = $1 AND used_at IS NULL"
    ).bind(&hash).bind(Utc::now()).execute(e))?;
    let spent: Option<Spent> = on_tx!(&mut tx, e => sqlx::query_as(
        "SELECT t.session_id, t.expires_at, s.revoked_at, a.id, a.name, a.display_name, a.created_at
         FROM refresh_token t
         JOIN session s ON s.id = t.session_id
         JOIN account a ON a.id = s.user_id
         WHERE t.hash = $1"
    ).bind(&hash).fetch_optional(e))?;
    let Some(spent) = spent else { return Err(ApiError::RefreshInvalid) };
    let session = SessionId::from(spent.session_id);
    if was_fresh == 0 {
        let owed = session::revoke(&mut tx, session, trace).await?;
        tx.commit().await?;
        outbox::publish(&state.database, &state.log, &owed).await;
        return Err(ApiError::RefreshReused);
    }
    if spent.revoked_at.is_some() || spent.expires_at < Utc::now() {
        return Err(ApiError::RefreshInvalid);
    }
    let renewed = on_tx!(&mut tx, e => sqlx::query(
        "UPDATE session SET used_at = $2, user_agent = $3 WHERE id = $1 AND revoked_at IS NULL"
    ).bind(spent.session_id).bind(Utc::now()).bind(caller.user_agent).execute(e))?;
    if renewed == 0 {
        return Err(ApiError::RefreshInvalid);
    }
    let tokens = login::issue(&state, &mut tx, session, spent.user).await?;
    tx.commit().await?;
    Ok(tokens.answer(&state))
}
