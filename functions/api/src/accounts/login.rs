//! `POST /login`, `POST /logout`.

use axum::{
    Json,
    extract::State as Shared,
    http::{HeaderMap, StatusCode},
};
use chrono::{DateTime, Utc};
use protocol::{SessionId, UserName};
use serde::{Deserialize, Serialize};
use store::{
    db::{Tx, on_tx},
    hash_queue::Requester,
    outbox,
    password::ClaimedPassword,
    throttle::{FIRST_WAIT, Guess},
};
use uuid::Uuid;

use super::{
    cookie, refresh, session,
    user::{User, UserRow},
};
use crate::{
    docs::refusals::refusals,
    error::ApiError,
    extract::{AuthUser, Body, Caller, Trace},
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

impl Tokens {
    /// A new access token beside this refresh token.
    pub fn new(
        state: &State,
        session: SessionId,
        user: UserRow,
        refresh_token: String,
    ) -> Result<Self, ApiError> {
        let access_token = state.minter.access(user.id.into(), session)?;
        let expires_in = state.minter.lifetimes().access;
        Ok(Self { access_token, expires_in, refresh_token, user: user.into() })
    }

    /// The answer, with the refresh token as a cookie too.
    pub fn answer(self, state: &State) -> (HeaderMap, Json<Self>) {
        (cookie::set(state, Some(&self.refresh_token)), Json(self))
    }
}

#[derive(sqlx::FromRow)]
struct Credentials {
    id: Uuid,
    name: String,
    display_name: String,
    created_at: DateTime<Utc>,
    password_hash: String,
}

refusals!(NotLoggedIn: BadCredentials, TooManyAttempts(FIRST_WAIT));

/// Log in
#[utoipa::path(post, path = "/login", tag = "accounts", request_body = Login,
    responses((status = 200, body = Tokens,
        headers(("set-cookie" = String, description = "Keeps the cookie `refreshToken`"))), NotLoggedIn))]
pub async fn login(
    Shared(state): Shared<State>,
    caller: Caller,
    Trace(trace): Trace,
    Body(Login { name, password }): Body<Login>,
) -> Result<(HeaderMap, Json<Tokens>), ApiError> {
    let parsed = UserName::parse(&name).ok();
    let counted_as = parsed.as_ref().map_or(name.as_str(), UserName::as_str);
    let guess = Guess::account(counted_as, caller.address);
    let mut tx = state.database.begin().await?;
    guess.admit(&mut tx).await?;
    let found = match &parsed {
        Some(name) => find(&mut tx, name).await?,
        // What is no name is nobody's, and takes as long to find out.
        None => None,
    };
    tx.commit().await?;
    let hash = found.as_ref().map(|found| found.password_hash.clone());
    let is_right = guess
        .verify((&state.database, &state.hasher), Requester::login(caller.address), password, hash)
        .await?;
    let Some(found) = found.filter(|_| is_right) else { return Err(ApiError::BadCredentials) };
    let Credentials { id, name, display_name, created_at, password_hash } = found;
    let mut tx = state.database.begin().await?;
    guess.succeeded(&mut tx).await?;
    let agent = caller.user_agent;
    let (session, owed) = session::start(&mut tx, id.into(), &password_hash, agent, trace).await?;
    let user = UserRow { id, name, display_name, created_at };
    let tokens = Tokens::new(&state, session, user, refresh::random())?;
    refresh::store(&mut tx, session, &tokens.refresh_token).await?;
    tx.commit().await?;
    outbox::publish(&state.database, &state.log, &owed).await;
    Ok(tokens.answer(&state))
}

async fn find(tx: &mut Tx, name: &UserName) -> Result<Option<Credentials>, ApiError> {
    Ok(on_tx!(tx, e => sqlx::query_as(
        "SELECT id, name, display_name, created_at, password_hash FROM account WHERE name = $1"
    ).bind(name.as_str()).fetch_optional(e))?)
}

/// Log out
#[utoipa::path(post, path = "/logout", tag = "accounts", security(("access" = [])),
    responses((status = 204, headers(("set-cookie" = String, description = "Takes the cookie `refreshToken` away")))))]
pub async fn logout(
    Shared(state): Shared<State>,
    user: AuthUser,
    Trace(trace): Trace,
) -> Result<(StatusCode, HeaderMap), ApiError> {
    let mut tx = state.database.begin().await?;
    let owed = session::revoke(&mut tx, user.session(), trace).await?;
    tx.commit().await?;
    outbox::publish(&state.database, &state.log, &owed).await;
    Ok((StatusCode::NO_CONTENT, cookie::set(&state, None)))
}
