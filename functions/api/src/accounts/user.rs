//! `POST /user` (sign-up) and `GET /user`.

use axum::{Json, extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use protocol::{DisplayName, Timestamp, UserId, UserName, stored::Person};
use serde::{Deserialize, Serialize};
use store::{
    accounts,
    db::{UniqueConstraint, on_db, on_tx},
    hash_queue::Requester,
    password::NewPassword,
    rate_limit::RateLimit,
    throttle::FIRST_WAIT,
};
use uuid::Uuid;

use crate::{
    docs::refusals::refusals,
    error::ApiError,
    extract::{AuthUser, Body, Caller},
    state::AppState,
};

/// Request body of POST /user.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignUp {
    name: UserName,
    password: NewPassword,
    /// Default: the user name.
    display_name: Option<DisplayName>,
}

/// An account as its owner sees it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct User {
    pub id: UserId,
    pub name: String,
    pub display_name: String,
    pub created_at: Timestamp,
}

/// Columns of the table `account`.
#[derive(sqlx::FromRow)]
pub struct UserRow {
    pub id: Uuid,
    pub name: String,
    pub display_name: String,
    pub created_at: DateTime<Utc>,
}

impl From<UserRow> for User {
    fn from(row: UserRow) -> Self {
        let UserRow { id, name, display_name, created_at } = row;
        Self { id: id.into(), name, display_name, created_at: created_at.into() }
    }
}

refusals!(SignUpRefusals: NameTaken, TooManyAttempts(FIRST_WAIT));

/// Sign up
#[utoipa::path(post, path = "/user", operation_id = "sign_up", tag = "accounts", request_body = SignUp,
    responses((status = 201, body = User), SignUpRefusals))]
pub async fn sign_up(
    State(state): State<AppState>,
    caller: Caller,
    Body(SignUp { name, password, display_name }): Body<SignUp>,
) -> Result<(StatusCode, Json<User>), ApiError> {
    let display_name =
        display_name.map_or_else(|| name.as_str().to_owned(), |name| name.as_str().to_owned());
    let user = User {
        id: UserId::generate(),
        name: name.as_str().to_owned(),
        display_name,
        created_at: Timestamp::now(),
    };
    let mut tx = state.store.database.begin().await?;
    RateLimit::sign_ups(state.config.limits.sign_ups_per_hour, caller.address)
        .admit(&mut tx)
        .await?;
    // The unique constraint decides. This check avoids hashing the password for a name that is taken.
    let taken: Option<i32> = on_tx!(&mut tx, e => sqlx::query_scalar(
        "SELECT 1 FROM account WHERE name = $1"
    ).bind(&user.name).fetch_optional(e))?;
    tx.commit().await?;
    if taken.is_some() {
        return Err(ApiError::NameTaken);
    }
    let hash = state.hasher.hash(Requester::sign_up(caller.address), password).await?;
    let mut tx = state.store.database.begin().await?;
    let inserted = on_tx!(&mut tx, e => sqlx::query(
        "INSERT INTO account (id, name, display_name, password_hash, created_at)
         VALUES ($1, $2, $3, $4, $5)"
    )
    .bind(user.id.as_uuid())
    .bind(&user.name)
    .bind(&user.display_name)
    .bind(hash)
    .bind(user.created_at.utc())
    .execute(e));
    match inserted {
        Ok(_) => tx.commit().await?,
        Err(error) if UniqueConstraint::AccountName.is_violated_by(&error) => {
            return Err(ApiError::NameTaken);
        }
        Err(error) => return Err(error.into()),
    }
    Ok((StatusCode::CREATED, Json(user)))
}

/// Get my account
#[utoipa::path(get, path = "/user", operation_id = "get_account", tag = "accounts", security(("access" = [])),
    responses((status = 200, body = User)))]
pub async fn me(State(state): State<AppState>, user: AuthUser) -> Result<Json<User>, ApiError> {
    Ok(Json(find(&state, user.id()).await?.into()))
}

/// The account of an authenticated user. A missing or deleted account is answered like a revoked session.
pub async fn find(state: &AppState, id: UserId) -> Result<UserRow, ApiError> {
    let id = id.as_uuid();
    let row: Option<UserRow> = on_db!(&state.store.database, e => sqlx::query_as(
        "SELECT id, name, display_name, created_at FROM account
         WHERE id = $1 AND deleted_at IS NULL"
    ).bind(id).fetch_optional(e))?;
    row.ok_or(ApiError::SessionRevoked)
}

/// The caller's id and display name, as other users see them.
pub async fn load_person(state: &AppState, id: UserId) -> Result<Person, ApiError> {
    Ok(accounts::person(id, &find(state, id).await?.display_name))
}
