//! The password once more, for what a token alone must not do.

use protocol::UserId;
use store::{db::on_tx, hash_queue::Requester, password::ClaimedPassword, throttle::Guess};
use uuid::Uuid;

use super::user;
use crate::{error::ApiError, extract::Caller, state::State};

#[derive(sqlx::FromRow)]
struct Secret {
    name: String,
    password_hash: String,
}

/// That somebody knew a password. It is to be looked at again in the transaction that it was asked for:
/// the account may have another one by then.
pub struct Proof {
    pub guess: Guess,
    pub password_hash: String,
}

/// Why what was proven is not true any more.
pub async fn outdated(state: &State, user: UserId) -> ApiError {
    // Either the account is gone, or it has another password.
    user::find(state, user).await.err().unwrap_or(ApiError::WrongPassword)
}

/// Proves that whoever holds the token also knows the password.
pub async fn confirm(
    state: &State,
    user: UserId,
    password: ClaimedPassword,
    caller: &Caller,
) -> Result<Proof, ApiError> {
    let id: Uuid = user.into();
    let mut tx = state.database.begin().await?;
    let found: Option<Secret> = on_tx!(&mut tx, e => sqlx::query_as(
        "SELECT name, password_hash FROM account WHERE id = $1 AND deleted_at IS NULL"
    ).bind(id).fetch_optional(e))?;
    let Secret { name, password_hash } = found.ok_or(ApiError::SessionRevoked)?;
    // Counted like a login: a stolen token is no way around the wait.
    let guess = Guess::account(&name, caller.address);
    guess.admit(&mut tx).await?;
    tx.commit().await?;
    let hash = Some(password_hash.clone());
    if !guess
        .verify((&state.database, &state.hasher), Requester::User(user), password, hash)
        .await?
    {
        return Err(ApiError::WrongPassword);
    }
    Ok(Proof { guess, password_hash })
}
