//! Password confirmation for operations that an access token alone must not allow, such as deleting the account. A
//! stolen token is then not enough.

use protocol::UserId;
use store::{db::on_tx, hash_queue::Requester, password::ClaimedPassword, throttle::LoginAttempt};
use uuid::Uuid;

use super::user;
use crate::{error::ApiError, extract::Caller, state::AppState};

#[derive(sqlx::FromRow)]
struct PasswordRow {
    name: String,
    password_hash: String,
}

/// Proof that the caller knew the password with this hash. The transaction that relies on it must compare the hash
/// again, because the password may have changed since.
pub struct ConfirmedPassword {
    pub attempt: LoginAttempt,
    pub password_hash: String,
}

/// The error for a confirmation whose hash no longer matches: the account was deleted or its password changed.
pub async fn outdated_confirmation(state: &AppState, user: UserId) -> ApiError {
    user::find(state, user).await.err().unwrap_or(ApiError::WrongPassword)
}

/// Checks that the owner of the access token also knows the password.
pub async fn confirm(
    state: &AppState,
    user: UserId,
    password: ClaimedPassword,
    caller: &Caller,
) -> Result<ConfirmedPassword, ApiError> {
    let id: Uuid = user.into();
    let mut tx = state.store.database.begin().await?;
    let found: Option<PasswordRow> = on_tx!(&mut tx, e => sqlx::query_as(
        "SELECT name, password_hash FROM account WHERE id = $1 AND deleted_at IS NULL"
    ).bind(id).fetch_optional(e))?;
    let PasswordRow { name, password_hash } = found.ok_or(ApiError::SessionRevoked)?;
    // Counted like a login, so that a stolen token does not bypass the brute-force protection.
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
