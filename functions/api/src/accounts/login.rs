//! `POST /login` and `POST /logout`.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use chrono::{DateTime, Utc};
use protocol::UserName;
use serde::Deserialize;
use store::{
    db::{Tx, on_tx},
    hash_queue::Requester,
    password::ClaimedPassword,
    throttle::{FIRST_WAIT, LoginAttempt},
};
use uuid::Uuid;

use super::{
    cookie, sessions,
    tokens::{Tokens, first_refresh_token, store_refresh_token},
    user::UserRow,
};
use crate::{
    docs::refusals::refusals,
    error::ApiError,
    extract::{AuthUser, Body, Caller, Trace},
    state::AppState,
};

/// Request body of POST /login.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Login {
    name: String,
    password: ClaimedPassword,
}

#[derive(sqlx::FromRow)]
struct CredentialsRow {
    id: Uuid,
    name: String,
    display_name: String,
    created_at: DateTime<Utc>,
    password_hash: String,
    disabled: bool,
}

refusals!(LoginRefusals: BadCredentials, AccountDisabled, TooManyAttempts(FIRST_WAIT));

/// Log in
#[utoipa::path(post, path = "/login", operation_id = "log_in", tag = "accounts", request_body = Login,
    responses((status = 200, body = Tokens,
        headers(("set-cookie" = String, description = "Sets the cookie `refreshToken`"))), LoginRefusals))]
pub async fn login(
    State(state): State<AppState>,
    caller: Caller,
    Trace(trace): Trace,
    Body(Login { name, password }): Body<Login>,
) -> Result<(HeaderMap, Json<Tokens>), ApiError> {
    let parsed = UserName::parse(&name).ok();
    let throttle_name = parsed.as_ref().map_or(name.as_str(), UserName::as_str);
    let attempt = LoginAttempt::account(throttle_name, caller.address);
    let mut tx = state.store.database.begin().await?;
    attempt.admit(&mut tx).await?;
    let found = match &parsed {
        Some(name) => find_credentials(&mut tx, name).await?,
        // An invalid name belongs to no account. The attempt is still verified below, so that the response time
        // does not reveal whether an account exists.
        None => None,
    };
    tx.commit().await?;
    let hash = found.as_ref().map(|found| found.password_hash.clone());
    let is_correct = attempt
        .verify(
            (&state.store.database, &state.hasher),
            Requester::login(caller.address),
            password,
            hash,
        )
        .await?;
    let Some(found) = found.filter(|_| is_correct) else { return Err(ApiError::BadCredentials) };
    let CredentialsRow { id, name, display_name, created_at, password_hash, disabled } = found;
    let mut tx = state.begin(trace).await?;
    attempt.succeeded(&mut tx).await?;
    if disabled {
        // Only somebody who knows the password gets this answer.
        tx.commit().await?;
        return Err(ApiError::AccountDisabled);
    }
    let session = sessions::start(&mut tx, id.into(), &password_hash, caller.user_agent).await?;
    let user = UserRow { id, name, display_name, created_at };
    let tokens = Tokens::new(&state, session, user, first_refresh_token())?;
    store_refresh_token(&mut tx, session, tokens.refresh_token()).await?;
    tx.commit().await?;
    Ok(tokens.into_response_parts(&state))
}

async fn find_credentials(
    tx: &mut Tx,
    name: &UserName,
) -> Result<Option<CredentialsRow>, ApiError> {
    Ok(on_tx!(tx, e => sqlx::query_as(
        "SELECT id, name, display_name, created_at, password_hash, disabled_at IS NOT NULL AS disabled
         FROM account WHERE name = $1"
    ).bind(name.as_str()).fetch_optional(e))?)
}

/// Log out
#[utoipa::path(post, path = "/logout", operation_id = "log_out", tag = "accounts", security(("access" = [])),
    responses((status = 204, headers(("set-cookie" = String, description = "Deletes the cookie `refreshToken`")))))]
pub async fn logout(
    State(state): State<AppState>,
    user: AuthUser,
    Trace(trace): Trace,
) -> Result<(StatusCode, HeaderMap), ApiError> {
    let mut tx = state.begin(trace).await?;
    store::sessions::revoke(&mut tx, user.session()).await?;
    tx.commit().await?;
    Ok((StatusCode::NO_CONTENT, cookie::set(&state, None)))
}
