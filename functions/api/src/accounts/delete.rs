//! `DELETE /user`: deletes the account and its sessions in one transaction. The user then leaves their rooms in
//! batches; the archive function continues if a batch fails or many rooms are left.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
};
use serde::Deserialize;
use store::{account_deletion, password::ClaimedPassword, throttle::FIRST_WAIT};

use super::{
    cookie,
    password_confirmation::{ConfirmedPassword, confirm, outdated_confirmation},
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
pub struct AccountDeletion {
    password: ClaimedPassword,
}

refusals!(DeleteAccountRefusals: WrongPassword, TooManyAttempts(FIRST_WAIT));

/// Delete my account
#[utoipa::path(delete, path = "/user", operation_id = "delete_account", tag = "accounts",
    request_body = AccountDeletion, security(("access" = [])),
    responses((status = 204,
        headers(("set-cookie" = String, description = "Deletes the cookie `refreshToken`"))), DeleteAccountRefusals))]
pub async fn delete(
    State(state): State<AppState>,
    user: AuthUser,
    caller: Caller,
    Trace(trace): Trace,
    Body(AccountDeletion { password }): Body<AccountDeletion>,
) -> Result<(StatusCode, HeaderMap), ApiError> {
    let ConfirmedPassword { attempt, password_hash } =
        confirm(&state, user.id(), password, &caller).await?;
    let mut tx = state.begin(trace).await?;
    attempt.succeeded(&mut tx).await?;
    if !account_deletion::delete(&mut tx, user.id(), Some(&password_hash)).await? {
        drop(tx);
        return Err(outdated_confirmation(&state, user.id()).await);
    }
    tx.commit().await?;
    if let Err(error) = account_deletion::leave_rooms(&state.store, user.id(), trace).await {
        tracing::warn!(%error, "removing a deleted user from rooms failed; the archive function will retry");
    }
    Ok((StatusCode::NO_CONTENT, cookie::set(&state, None)))
}
