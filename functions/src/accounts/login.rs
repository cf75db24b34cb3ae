//! `POST /login`, `POST /logout`.

use axum::{Json, extract::State as Shared, http::StatusCode};
use chrono::{DateTime, Utc};
use protocol::{SessionId, UserId, UserName, limits, subject::Revoked};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    refresh,
    user::{User, UserRow},
};
use crate::{
    db::{Tx, on_db, on_tx},
    error::{ApiError, Problem},
    extract::{AuthUser, Body, Trace},
    outbox::{self, Owed},
    password::ClaimedPassword,
    state::State,
};

/// Who claims to be whom.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Login {
    name: String,
    password: ClaimedPassword,
}

/// A session's tokens.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tokens {
    access_token: String,
    /// Seconds.
    expires_in: i64,
    refresh_token: String,
    user: User,
}

#[derive(sqlx::FromRow)]
struct Credentials {
    id: Uuid,
    name: String,
    display_name: String,
    created_at: DateTime<Utc>,
    password_hash: String,
}

/// Log in
#[utoipa::path(post, path = "/login", tag = "accounts", request_body = Login,
    responses((status = 200, body = Tokens), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub async fn login(
    Shared(state): Shared<State>,
    Body(Login { name, password }): Body<Login>,
) -> Result<Json<Tokens>, ApiError> {
    let found = match UserName::parse(&name) {
        Ok(name) => find(&state, &name).await?,
        // What is no name is nobody's, and takes as long to find out.
        Err(_) => None,
    };
    let hash = found.as_ref().map(|found| found.password_hash.clone());
    let is_right = state.hasher.verify(password, hash).await?;
    let Some(found) = found.filter(|_| is_right) else { return Err(ApiError::BadCredentials) };
    let Credentials { id, name, display_name, created_at, .. } = found;
    let session = SessionId::generate();
    let mut tx = state.database.begin().await?;
    on_tx!(&mut tx, e => sqlx::query(
        "INSERT INTO session (id, user_id, created_at) VALUES ($1, $2, $3)"
    ).bind(session.as_uuid()).bind(id).bind(Utc::now()).execute(e))?;
    let user = UserRow { id, name, display_name, created_at };
    let tokens = issue(&state, &mut tx, session, user).await?;
    tx.commit().await?;
    Ok(Json(tokens))
}

async fn find(state: &State, name: &UserName) -> Result<Option<Credentials>, ApiError> {
    Ok(on_db!(&state.database, e => sqlx::query_as(
        "SELECT id, name, display_name, created_at, password_hash FROM account WHERE name = $1"
    ).bind(name.as_str()).fetch_optional(e))?)
}

/// A new pair of tokens for a session.
pub async fn issue(
    state: &State,
    tx: &mut Tx,
    session: SessionId,
    user: UserRow,
) -> Result<Tokens, ApiError> {
    let access_token = state.minter.access(user.id.into(), session)?;
    let refresh_token = refresh::store_new(tx, session).await?;
    let expires_in = limits::ACCESS_TOKEN_SECONDS;
    Ok(Tokens { access_token, expires_in, refresh_token, user: user.into() })
}

/// Log out
#[utoipa::path(post, path = "/logout", tag = "accounts", security(("access" = [])),
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub async fn logout(
    Shared(state): Shared<State>,
    user: AuthUser,
    Trace(trace): Trace,
) -> Result<StatusCode, ApiError> {
    let mut tx = state.database.begin().await?;
    let owed = revoke(&mut tx, user.id(), user.session(), trace).await?;
    tx.commit().await?;
    outbox::publish(&state.database, &state.log, &owed).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends a session of a user: no refresh, no request, and, once what is owed is published, no socket.
pub async fn revoke(
    tx: &mut Tx,
    user: UserId,
    session: SessionId,
    trace: service::trace::TraceParent,
) -> Result<Vec<Owed>, ApiError> {
    on_tx!(tx, e => sqlx::query(
        "UPDATE session SET revoked_at = $3 WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL"
    ).bind(session.as_uuid()).bind(user.as_uuid()).bind(Utc::now()).execute(e))?;
    let owed = Owed::revocation(Revoked::Session(session), trace);
    owed.record(tx).await?;
    Ok(vec![owed])
}
