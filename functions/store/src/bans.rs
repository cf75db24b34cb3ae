//! Bans of users from a room, under the lock of the room's row.

use chrono::Utc;
use protocol::{RoomId, Timestamp, UserId, stored::StoredEvent};

use crate::{
    StoreError, Transaction,
    db::{Tx, on_tx},
    members::{LockedMember, LockedRoom},
};

/// Bans a user, who need not be a member: the ban then prevents them from joining. `member` was read under the lock.
/// Returns false if there is no such user.
pub async fn ban(
    tx: &mut Transaction,
    room: &LockedRoom,
    user: UserId,
    member: Option<LockedMember>,
    by: UserId,
) -> Result<bool, StoreError> {
    let exists: Option<i32> = on_tx!(tx, e => sqlx::query_scalar(
        "SELECT 1 FROM account WHERE id = $1 AND deleted_at IS NULL"
    ).bind(user.as_uuid()).fetch_optional(e))?;
    if exists.is_none() {
        return Ok(false);
    }
    on_tx!(tx, e => sqlx::query(
        "INSERT INTO ban (room_id, user_id, banned_by, at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (room_id, user_id) DO NOTHING"
    )
    .bind(room.room.as_uuid())
    .bind(user.as_uuid())
    .bind(by.as_uuid())
    .bind(Utc::now())
    .execute(e))?;
    match member {
        Some(LockedMember { person, .. }) => {
            let at = Timestamp::now();
            let event = StoredEvent::MemberRemoved { user: person, by, banned: true, at };
            room.remove(tx, user, &event).await?;
        }
        None => room.revoke_access(tx, user).await?,
    }
    Ok(true)
}

/// Lifts a ban. The user can join again, but is not a member. Returns false if there was none.
pub async fn lift(tx: &mut Tx, room: RoomId, user: UserId) -> Result<bool, StoreError> {
    let lifted = on_tx!(tx, e => sqlx::query(
        "DELETE FROM ban WHERE room_id = $1 AND user_id = $2"
    ).bind(room.as_uuid()).bind(user.as_uuid()).execute(e))?;
    Ok(lifted > 0)
}
