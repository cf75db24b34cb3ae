//! `DELETE /user`: the account ends at once; what it was in is left in steps, which `archive` goes on
//! with if there are many or something fails.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
};
use chrono::Utc;
use protocol::subject::Revoked;
use serde::Deserialize;
use store::{
    account_deletion::leave_rooms, accounts::DELETED_NAME, db::on_tx, password::ClaimedPassword,
    throttle::FIRST_WAIT,
};

use super::{
    cookie,
    password_confirmation::{ConfirmedPassword, confirm, outdated},
};
use crate::{
    docs::refusals::refusals,
    error::ApiError,
    extract::{AuthUser, Body, Caller, Trace},
    state::AppState,
};

/// Request body of DELETE /user: the password again, as confirmation.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Deletion {
    password: ClaimedPassword,
}

refusals!(NotDeleted: WrongPassword, TooManyAttempts(FIRST_WAIT));

/// Delete my account
#[utoipa::path(delete, path = "/user", operation_id = "delete_account", tag = "accounts",
    request_body = Deletion, security(("access" = [])),
    responses((status = 204,
        headers(("set-cookie" = String, description = "Takes the cookie `refreshToken` away"))), NotDeleted))]
pub async fn delete(
    State(state): State<AppState>,
    user: AuthUser,
    caller: Caller,
    Trace(trace): Trace,
    Body(Deletion { password }): Body<Deletion>,
) -> Result<(StatusCode, HeaderMap), ApiError> {
    let ConfirmedPassword { attempt, password_hash } =
        confirm(&state, user.id(), password, &caller).await?;
    let id = user.id().as_uuid();
    let mut tx = state.begin(trace).await?;
    attempt.succeeded(&mut tx).await?;
    // An id is not a valid user name, and no password has an empty hash.
    let deleted = on_tx!(&mut tx, e => sqlx::query(
        "UPDATE account SET deleted_at = $2, name = $3, display_name = $4, password_hash = ''
         WHERE id = $1 AND password_hash = $5"
    )
    .bind(id)
    .bind(Utc::now())
    .bind(id.to_string())
    .bind(DELETED_NAME)
    .bind(password_hash)
    .execute(e))?;
    if deleted == 0 {
        drop(tx);
        return Err(outdated(&state, user.id()).await);
    }
    on_tx!(&mut tx, e => sqlx::query("DELETE FROM session WHERE user_id = $1").bind(id).execute(e))?;
    tx.revoke(Revoked::User(user.id())).await?;
    tx.commit().await?;
    let left = leave_rooms(&state.store, user.id(), trace);
    if let Err(error) = left.await {
        tracing::warn!(%error, "a deleted user's rooms are left for the archive");
    }
    Ok((StatusCode::NO_CONTENT, cookie::set(&state, None)))
}
