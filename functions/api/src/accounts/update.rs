//! `PATCH /user`: changes the display name or the password.

use axum::{Json, extract::State};
use protocol::{Code, DisplayName, json::JsonError};
use serde::Deserialize;
use store::{
    accounts,
    db::on_tx,
    hash_queue::Requester,
    password::{ClaimedPassword, NewPassword},
    rate_limit::RateLimit,
    sessions,
    throttle::FIRST_WAIT,
};

use super::{
    password_confirmation::{ConfirmedPassword, confirm, outdated_confirmation},
    user::{self, User},
};
use crate::{
    docs::refusals::{USER_OVER, refusals},
    error::ApiError,
    extract::{AuthUser, Body, Caller, Trace},
    state::AppState,
};

/// Request body of PATCH /user. Omitted fields stay unchanged.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccountChange {
    display_name: Option<DisplayName>,
    /// Requires `currentPassword`. All other sessions end.
    password: Option<NewPassword>,
    current_password: Option<ClaimedPassword>,
}

refusals!(UpdateAccountRefusals: WrongPassword, TooManyAttempts(FIRST_WAIT), OverBudget(USER_OVER));

/// Change my account
#[utoipa::path(patch, path = "/user", operation_id = "change_account", tag = "accounts",
    request_body = AccountChange, security(("access" = [])),
    responses((status = 200, body = User), UpdateAccountRefusals))]
pub async fn update(
    State(state): State<AppState>,
    user: AuthUser,
    caller: Caller,
    Trace(trace): Trace,
    Body(AccountChange { display_name, password, current_password }): Body<AccountChange>,
) -> Result<Json<User>, ApiError> {
    state.budgets.charge_user(user.id()).await?;
    let mut new_password = None;
    if let Some(password) = password {
        let current = current_password.ok_or(JsonError {
            code: Code::MissingField,
            field: Some("currentPassword".to_owned()),
            detail: "a new password requires the current one".to_owned(),
        })?;
        RateLimit::new_passwords(state.config.limits.new_passwords_per_hour, user.id())
            .check(&state.store.database)
            .await?;
        let confirmed = confirm(&state, user.id(), current, &caller).await?;
        let hash = state.hasher.hash(Requester::User(user.id()), password).await;
        let hash = confirmed.attempt.unless_failed(&state.store.database, hash).await?;
        new_password = Some((confirmed, hash));
    }
    let mut tx = state.begin(trace).await?;
    if let Some((ConfirmedPassword { attempt, password_hash }, new_hash)) = new_password {
        attempt.succeeded(&mut tx).await?;
        let expected = Some(password_hash.as_str());
        if !accounts::change_password(&mut tx, user.id(), expected, &new_hash).await? {
            drop(tx);
            return Err(outdated_confirmation(&state, user.id()).await);
        }
        sessions::revoke_all(&mut tx, user.id(), Some(user.session())).await?;
    }
    if let Some(name) = &display_name {
        on_tx!(&mut tx, e => sqlx::query(
            "UPDATE account SET display_name = $2 WHERE id = $1 AND deleted_at IS NULL"
        ).bind(user.id().as_uuid()).bind(name.as_str()).execute(e))?;
    }
    tx.commit().await?;
    Ok(Json(user::find(&state, user.id()).await?.into()))
}
