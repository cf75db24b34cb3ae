//! Ends sessions: their tokens are refused and, after the commit, gateways close their sockets.

use chrono::Utc;
use protocol::{SessionId, UserId, subject::Revoked};
use uuid::Uuid;

use crate::{StoreError, Transaction, db::on_tx};

/// Revokes a session. Returns false if it was revoked before, or does not exist.
pub async fn revoke(tx: &mut Transaction, session: SessionId) -> Result<bool, StoreError> {
    let revoked: Vec<Uuid> = on_tx!(tx, e => sqlx::query_scalar(
        "UPDATE session SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL RETURNING id"
    ).bind(session.as_uuid()).bind(Utc::now()).fetch_all(e))?;
    let was_active = !revoked.is_empty();
    revoke_at_gateways(tx, revoked).await?;
    Ok(was_active)
}

/// Revokes all sessions of a user, or all except one. Returns how many there were.
pub async fn revoke_all(
    tx: &mut Transaction,
    user: UserId,
    except: Option<SessionId>,
) -> Result<usize, StoreError> {
    let kept = except.map_or(Uuid::nil(), SessionId::as_uuid);
    let revoked: Vec<Uuid> = on_tx!(tx, e => sqlx::query_scalar(
        "UPDATE session SET revoked_at = $3
         WHERE user_id = $1 AND id <> $2 AND revoked_at IS NULL RETURNING id"
    ).bind(user.as_uuid()).bind(kept).bind(Utc::now()).fetch_all(e))?;
    let count = revoked.len();
    revoke_at_gateways(tx, revoked).await?;
    Ok(count)
}

/// Makes gateways close the sockets of sessions that this transaction has revoked.
pub async fn revoke_at_gateways(
    tx: &mut Transaction,
    sessions: Vec<Uuid>,
) -> Result<(), StoreError> {
    for session in sessions {
        tx.revoke(Revoked::Session(session.into())).await?;
    }
    Ok(())
}
