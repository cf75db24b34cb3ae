//! `PATCH /user`: another display name, another password.

use axum::{Json, extract::State as Shared};
use protocol::{Code, DisplayName, json::BadJson};
use serde::Deserialize;
use store::{
    db::on_tx,
    hash_queue::Requester,
    outbox,
    password::{ClaimedPassword, NewPassword},
    rate_limit::RateLimit,
    throttle::FIRST_WAIT,
};

use super::{
    proof::{Proof, confirm, outdated},
    session,
    user::{self, User},
};
use crate::{
    docs::refusals::{USER_OVER, refusals},
    error::ApiError,
    extract::{AuthUser, Body, Caller, Trace},
    state::State,
};

/// What is to be another; the rest stays.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Change {
    display_name: Option<DisplayName>,
    /// With `currentPassword`. All other sessions end.
    password: Option<NewPassword>,
    current_password: Option<ClaimedPassword>,
}

refusals!(NotChanged: WrongPassword, TooManyAttempts(FIRST_WAIT), OverBudget(USER_OVER));

/// Change my account
#[utoipa::path(patch, path = "/user", operation_id = "change_account", tag = "accounts",
    request_body = Change, security(("access" = [])),
    responses((status = 200, body = User), NotChanged))]
pub async fn change(
    Shared(state): Shared<State>,
    user: AuthUser,
    caller: Caller,
    Trace(trace): Trace,
    Body(Change { display_name, password, current_password }): Body<Change>,
) -> Result<Json<User>, ApiError> {
    state.budgets.charge_user(user.id()).await?;
    let mut proven = None;
    if let Some(password) = password {
        let current = current_password.ok_or(BadJson {
            code: Code::MissingField,
            field: Some("currentPassword".to_owned()),
            detail: "a new password needs the current one".to_owned(),
        })?;
        RateLimit::new_passwords(state.config.limits.new_passwords_per_hour, user.id())
            .check(&state.database)
            .await?;
        let proof = confirm(&state, user.id(), current, &caller).await?;
        let new = state.hasher.hash(Requester::User(user.id()), password).await;
        let new = proof.guess.unless_failed(&state.database, new).await?;
        proven = Some((proof, new));
    }
    let mut tx = state.database.begin().await?;
    let mut owed = Vec::new();
    if let Some((Proof { guess, password_hash }, new)) = proven {
        guess.succeeded(&mut tx).await?;
        let changed = on_tx!(&mut tx, e => sqlx::query(
            "UPDATE account SET password_hash = $3 WHERE id = $1 AND password_hash = $2"
        ).bind(user.id().as_uuid()).bind(password_hash).bind(new).execute(e))?;
        if changed == 0 {
            drop(tx);
            return Err(outdated(&state, user.id()).await);
        }
        owed = session::revoke_others(&mut tx, user.id(), user.session(), trace).await?;
    }
    if let Some(name) = &display_name {
        on_tx!(&mut tx, e => sqlx::query(
            "UPDATE account SET display_name = $2 WHERE id = $1 AND deleted_at IS NULL"
        ).bind(user.id().as_uuid()).bind(name.as_str()).execute(e))?;
    }
    tx.commit().await?;
    outbox::publish(&state.database, &state.log, &owed).await;
    Ok(Json(user::find(&state, user.id()).await?.into()))
}
