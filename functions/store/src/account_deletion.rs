//! A deleted account leaves its rooms. In each, somebody else becomes the owner, or the room ends too.
//! The request that deletes the account does the first rooms, the archive the rest.

use protocol::{Role, RoomId, Timestamp, UserId, stored::StoredEvent};
use service::trace::TraceParent;
use uuid::Uuid;

use crate::{
    Store, StoreError, Transaction,
    db::{Database, Tx, on_db, on_tx},
    members::{self, LockedMember},
    rooms,
};

/// Rooms that are left by one call.
const ROOMS_AT_ONCE: i64 = 50;

/// Takes a deleted user out of some rooms, each in a transaction of its own. Returns whether more are left.
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
    Ok(rooms.len() as i64 == ROOMS_AT_ONCE)
}

/// Some rooms that a user is a member of or has created.
async fn rooms_of(database: &Database, user: UserId) -> Result<Vec<RoomId>, StoreError> {
    let rooms: Vec<Uuid> = on_db!(database, e => sqlx::query_scalar(
        "SELECT room_id FROM member WHERE user_id = $1
         UNION SELECT id FROM room WHERE creator_id = $1 AND deleted_at IS NULL LIMIT $2"
    ).bind(user.as_uuid()).bind(ROOMS_AT_ONCE).fetch_all(e))?;
    Ok(rooms.into_iter().map(RoomId::from).collect())
}

/// Takes the user of a deleted account out of a room. Where no other owner is left, the moderator who
/// has been there longest becomes one, or else the member; where nobody is left, the room ends.
async fn leave(tx: &mut Transaction, room: RoomId, deleted: UserId) -> Result<(), StoreError> {
    if let Some(locked) = members::lock(tx, room).await? {
        if let Some(LockedMember { person, role }) = locked.member(tx, deleted).await? {
            let is_orphaned = role == Role::Owner && !locked.has_other_owner(tx, deleted).await?;
            let heir = if is_orphaned { heir(tx, room, deleted).await? } else { None };
            if let Some(heir) = heir {
                locked.set_role(tx, heir, Role::Owner).await?;
            }
            if is_orphaned && heir.is_none() {
                rooms::end(tx, room, deleted).await?;
            } else {
                let event = StoredEvent::MemberLeft { user: person, at: Timestamp::now() };
                locked.remove(tx, deleted, &event).await?;
            }
        }
        // Only its creator may delete a room, so every room keeps one.
        on_tx!(tx, e => sqlx::query(
            "UPDATE room SET creator_id = COALESCE((
               SELECT user_id FROM active_member WHERE room_id = $1 AND role = 'owner'
               ORDER BY joined_at, user_id LIMIT 1), creator_id)
             WHERE id = $1 AND creator_id = $2"
        ).bind(room.as_uuid()).bind(deleted.as_uuid()).execute(e))?;
    }
    // A room that has ended is not locked; the membership is all that is left to remove.
    on_tx!(tx, e => sqlx::query("DELETE FROM member WHERE room_id = $1 AND user_id = $2")
        .bind(room.as_uuid()).bind(deleted.as_uuid()).execute(e))?;
    Ok(())
}

async fn heir(tx: &mut Tx, room: RoomId, deleted: UserId) -> Result<Option<UserId>, StoreError> {
    let heir: Option<Uuid> = on_tx!(tx, e => sqlx::query_scalar(
        "SELECT user_id FROM active_member WHERE room_id = $1 AND user_id <> $2
         ORDER BY CASE role WHEN 'moderator' THEN 0 ELSE 1 END, joined_at, user_id LIMIT 1"
    ).bind(room.as_uuid()).bind(deleted.as_uuid()).fetch_optional(e))?;
    Ok(heir.map(UserId::from))
}
