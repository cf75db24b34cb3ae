//! Password confirmation, for operations that an access token alone does not allow.

use protocol::UserId;
use store::{db::on_tx, hash_queue::Requester, password::ClaimedPassword, throttle::LoginAttempt};
use uuid::Uuid;

use super::user;
use crate::{error::ApiError, extract::Caller, state::AppState};

#[derive(sqlx::FromRow)]
struct Secret {
    name: String,
    password_hash: String,
}

/// The caller knew the password with this hash. The transaction that needed it compares the hash again:
/// the account may have another password by then.
pub struct ConfirmedPassword {
    pub attempt: LoginAttempt,
    pub password_hash: String,
}

/// Why a confirmed password no longer is the account's.
pub async fn outdated(state: &AppState, user: UserId) -> ApiError {
    // Either the account is gone, or it has another password.
    user::find(state, user).await.err().unwrap_or(ApiError::WrongPassword)
}

/// Checks that the holder of the token also knows the password.
pub async fn confirm(
    state: &AppState,
    user: UserId,
    password: ClaimedPassword,
    caller: &Caller,
) -> Result<ConfirmedPassword, ApiError> {
    let id: Uuid = user.into();
    let mut tx = state.store.database.begin().await?;
    let found: Option<Secret> = on_tx!(&mut tx, e => sqlx::query_as(
        "SELECT name, password_hash FROM account WHERE id = $1 AND deleted_at IS NULL"
    ).bind(id).fetch_optional(e))?;
    let Secret { name, password_hash } = found.ok_or(ApiError::SessionRevoked)?;
    // Counted like a login, so that a stolen token does not bypass the throttle.
    let attempt = LoginAttempt::account(&name, caller.address);
    attempt.admit(&mut tx).await?;
    tx.commit().await?;
    let hash = Some(password_hash.clone());
    if !attempt
        .verify((&state.store.database, &state.hasher), Requester::User(user), password, hash)
        .await?
    {
        return Err(ApiError::WrongPassword);
    }
    Ok(ConfirmedPassword { attempt, password_hash })
}
