//! Deletes an account and its sessions, and takes it out of its rooms. In each, another member becomes the owner, or
//! the room is deleted. The request that deletes the account handles the first rooms, the archive the rest.

use chrono::Utc;
use protocol::{Role, RoomId, Timestamp, UserId, stored::StoredEvent, subject::Revoked};
use service::trace::TraceParent;
use uuid::Uuid;

use crate::{
    Store, StoreError, Transaction,
    accounts::DELETED_NAME,
    db::{Database, Tx, on_db, on_tx},
    members::{self, LockedMember},
    room_deletion,
};

/// Rooms of one call of [`leave_rooms`].
const MAX_ROOMS: i64 = 50;

/// Deletes an account, if it still has the expected password hash, and its sessions. Returns false otherwise. The
/// caller commits and then calls [`leave_rooms`].
pub async fn delete(
    tx: &mut Transaction,
    user: UserId,
    expected_hash: Option<&str>,
) -> Result<bool, StoreError> {
    // The id replaces the name because it is unique and not a valid user name, so nobody can sign up with it. The
    // empty hash matches no password.
    let id = user.as_uuid();
    let deleted = on_tx!(tx, e => sqlx::query(
        "UPDATE account SET deleted_at = $2, name = $3, display_name = $4, password_hash = ''
         WHERE id = $1 AND deleted_at IS NULL AND password_hash = COALESCE($5, password_hash)"
    )
    .bind(id)
    .bind(Utc::now())
    .bind(id.to_string())
    .bind(DELETED_NAME)
    .bind(expected_hash)
    .execute(e))?;
    if deleted == 0 {
        return Ok(false);
    }
    on_tx!(tx, e => sqlx::query("DELETE FROM session WHERE user_id = $1").bind(id).execute(e))?;
    tx.revoke(Revoked::User(user)).await?;
    Ok(true)
}

/// Leaves up to `MAX_ROOMS` rooms, each in its own transaction. Returns whether there may be more.
pub async fn leave_rooms(
    store: &Store,
    user: UserId,
    trace: TraceParent,
) -> Result<bool, StoreError> {
    let rooms = rooms_of(&store.database, user).await?;
    for room in &rooms {
        let mut tx = store.begin(trace).await?;
        leave(&mut tx, *room, user).await?;
        tx.commit().await?;
    }
    Ok(rooms.len() as i64 == MAX_ROOMS)
}

/// Rooms that the user is a member or the creator of.
async fn rooms_of(database: &Database, user: UserId) -> Result<Vec<RoomId>, StoreError> {
    let rooms: Vec<Uuid> = on_db!(database, e => sqlx::query_scalar(
        "SELECT room_id FROM member WHERE user_id = $1
         UNION SELECT id FROM room WHERE creator_id = $1 AND deleted_at IS NULL LIMIT $2"
    ).bind(user.as_uuid()).bind(MAX_ROOMS).fetch_all(e))?;
    Ok(rooms.into_iter().map(RoomId::from).collect())
}

/// Leaves one room. If it has no other owner, the moderator who joined first becomes one, or else the member who joined
/// first. Without other members, the room is deleted.
async fn leave(tx: &mut Transaction, room: RoomId, deleted: UserId) -> Result<(), StoreError> {
    if let Some(locked) = members::lock(tx, room).await? {
        if let Some(LockedMember { person, role }) = locked.member(tx, deleted).await? {
            let is_orphaned = role == Role::Owner && !locked.has_other_owner(tx, deleted).await?;
            let successor = if is_orphaned { successor(tx, room, deleted).await? } else { None };
            if let Some(successor) = successor {
                locked.set_role(tx, successor, Role::Owner).await?;
            }
            if is_orphaned && successor.is_none() {
                room_deletion::mark_deleted(tx, room, deleted).await?;
            } else {
                let event = StoredEvent::MemberLeft { user: person, at: Timestamp::now() };
                locked.remove(tx, deleted, &event).await?;
            }
        }
        // Only its creator may delete a room, so an owner becomes the creator.
        on_tx!(tx, e => sqlx::query(
            "UPDATE room SET creator_id = COALESCE((
               SELECT user_id FROM active_member WHERE room_id = $1 AND role = 'owner'
               ORDER BY joined_at, user_id LIMIT 1), creator_id)
             WHERE id = $1 AND creator_id = $2"
        ).bind(room.as_uuid()).bind(deleted.as_uuid()).execute(e))?;
    }
    // A deleted room cannot be locked, and only the membership is left to remove.
    on_tx!(tx, e => sqlx::query("DELETE FROM member WHERE room_id = $1 AND user_id = $2")
        .bind(room.as_uuid()).bind(deleted.as_uuid()).execute(e))?;
    Ok(())
}

async fn successor(
    tx: &mut Tx,
    room: RoomId,
    deleted: UserId,
) -> Result<Option<UserId>, StoreError> {
    let successor: Option<Uuid> = on_tx!(tx, e => sqlx::query_scalar(
        "SELECT user_id FROM active_member WHERE room_id = $1 AND user_id <> $2
         ORDER BY CASE role WHEN 'moderator' THEN 0 ELSE 1 END, joined_at, user_id LIMIT 1"
    ).bind(room.as_uuid()).bind(deleted.as_uuid()).fetch_optional(e))?;
    Ok(successor.map(UserId::from))
}
