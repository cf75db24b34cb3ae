//! Adding a member to a room. The reason why they may join is checked again under the lock of the room's row.

use chrono::Utc;
use protocol::{
    Role, RoomId, Timestamp, UserId,
    stored::{Person, StoredEvent},
};
use store::{
    Transaction, bans,
    db::{self, Tx, on_tx},
};

use crate::error::ApiError;

/// Why a user may join a room. It is checked again in the transaction that adds them, because the room may have
/// become private or got another password since the first check.
pub enum JoinGrant {
    /// The user created the room.
    Creator,
    /// An owner or moderator adds the user. This lifts a ban.
    Invited { by: UserId },
    /// The room is public and has no password.
    Open,
    /// The user knew the password with this hash.
    Password(String),
}

/// Adds a member and emits the event. Returns false if the user is a member already or is banned, or if the grant no
/// longer holds.
pub async fn add_member(
    tx: &mut Transaction,
    room: RoomId,
    (user, role): (Person, Role),
    grant: JoinGrant,
) -> Result<bool, ApiError> {
    let (is_admitted, hash) = match &grant {
        JoinGrant::Creator | JoinGrant::Invited { .. } => (true, None),
        JoinGrant::Open => (false, None),
        JoinGrant::Password(hash) => (false, Some(hash.as_str())),
    };
    // This update also locks the room's row. Bans, removals, changes and the deletion of the room take the same lock,
    // so the statements below see all that were committed before, and later ones see the new member.
    let updated = on_tx!(tx, e => sqlx::query(
        "UPDATE room SET members = members + 1 WHERE id = $1 AND deleted_at IS NULL
           AND ($2 OR password_hash = $3 OR (NOT private AND password_hash IS NULL))"
    ).bind(room.as_uuid()).bind(is_admitted).bind(hash).execute(e))?;
    if updated == 0 {
        return Ok(false);
    }
    if let JoinGrant::Invited { by } = grant {
        lift_ban(tx, room, by, user.id).await?;
    }
    let added = on_tx!(tx, e => sqlx::query(
        "INSERT INTO member (room_id, user_id, role, joined_at)
         SELECT r.id, $2, $3, $4 FROM room r WHERE r.id = $1
           AND NOT EXISTS (SELECT 1 FROM ban b WHERE b.room_id = r.id AND b.user_id = $2)
         ON CONFLICT (room_id, user_id) DO NOTHING"
    )
    .bind(room.as_uuid())
    .bind(user.id.as_uuid())
    .bind(role.as_str())
    .bind(Utc::now())
    .execute(e))?;
    if added == 0 {
        on_tx!(tx, e => sqlx::query("UPDATE room SET members = members - 1 WHERE id = $1")
            .bind(room.as_uuid()).execute(e))?;
        return Ok(false);
    }
    tx.emit(room, &StoredEvent::MemberJoined { user, at: Timestamp::now() }).await?;
    Ok(true)
}

/// Checks that the inviting user still has the right to, and lifts a ban of the invited user. The caller holds the
/// lock of the room's row.
async fn lift_ban(tx: &mut Tx, room: RoomId, by: UserId, user: UserId) -> Result<(), ApiError> {
    let role: Option<String> = on_tx!(tx, e => sqlx::query_scalar(
        "SELECT role FROM active_member WHERE room_id = $1 AND user_id = $2"
    ).bind(room.as_uuid()).bind(by.as_uuid()).fetch_optional(e))?;
    match role.as_deref().map(db::role).transpose()? {
        Some(role) if role >= Role::Moderator => {}
        Some(_) => return Err(ApiError::NotAModerator),
        None => return Err(ApiError::NotAMember),
    }
    bans::lift(tx, room, user).await?;
    Ok(())
}
