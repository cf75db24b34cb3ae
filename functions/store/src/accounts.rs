//! Rules about accounts that several crates share.

use chrono::{TimeDelta, Utc};
use protocol::{DisplayName, UserId, name::Stored as _, stored::Person};

use crate::{
    StoreError, Transaction,
    db::{Tx, on_tx},
    sessions,
};

/// Display name of a deleted account, also as the author of its messages.
pub const DELETED_NAME: &str = "deleted user";

/// Lifetime of a refresh token. A session that is not refreshed within it has ended.
pub const REFRESH_WITHIN: TimeDelta = TimeDelta::days(30);

/// Builds a person from a stored display name.
pub fn person(id: UserId, display_name: &str) -> Person {
    Person { id, name: DisplayName::from_stored(display_name) }
}

/// Changes the password, if the account still has the expected hash. Returns false otherwise, or if the account is
/// deleted. The caller ends the sessions.
pub async fn change_password(
    tx: &mut Tx,
    user: UserId,
    expected_hash: Option<&str>,
    hash: &str,
) -> Result<bool, StoreError> {
    let changed = on_tx!(tx, e => sqlx::query(
        "UPDATE account SET password_hash = $3
         WHERE id = $1 AND deleted_at IS NULL AND password_hash = COALESCE($2, password_hash)"
    ).bind(user.as_uuid()).bind(expected_hash).bind(hash).execute(e))?;
    Ok(changed > 0)
}

/// Disables an account: its sessions end, and it cannot log in. Returns false if it is disabled already or deleted.
pub async fn disable(tx: &mut Transaction, user: UserId) -> Result<bool, StoreError> {
    // Locks the row, like the start of a session: that comes either before, and is revoked here, or sees the change.
    let disabled = on_tx!(tx, e => sqlx::query(
        "UPDATE account SET disabled_at = $2
         WHERE id = $1 AND deleted_at IS NULL AND disabled_at IS NULL"
    ).bind(user.as_uuid()).bind(Utc::now()).execute(e))?;
    sessions::revoke_all(tx, user, None).await?;
    Ok(disabled > 0)
}

/// Enables a disabled account. Returns false if it was not disabled.
pub async fn enable(tx: &mut Tx, user: UserId) -> Result<bool, StoreError> {
    let enabled = on_tx!(tx, e => sqlx::query(
        "UPDATE account SET disabled_at = NULL WHERE id = $1 AND disabled_at IS NOT NULL"
    ).bind(user.as_uuid()).execute(e))?;
    Ok(enabled > 0)
}
