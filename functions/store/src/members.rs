//! Changes the members of a room under the lock of the room's row.

use protocol::{
    Role, RoomId, UserId,
    stored::{Person, StoredEvent},
    subject::MemberState,
};
use uuid::Uuid;

use crate::{
    StoreError, Transaction, accounts,
    db::{self, Tx, on_tx},
};

/// A room whose row is locked. Until the transaction ends, no other one can remove a member or change a role.
pub struct LockedRoom {
    pub room: RoomId,
    /// Raised by the lock, so that tickets from before it have a lower version.
    pub version: u64,
}

/// Locks the row. None if the room is deleted.
pub async fn lock(tx: &mut Tx, room: RoomId) -> Result<Option<LockedRoom>, StoreError> {
    let version: Option<i64> = on_tx!(tx, e => sqlx::query_scalar(
        "UPDATE room SET version = version + 1 WHERE id = $1 AND deleted_at IS NULL
         RETURNING version"
    ).bind(room.as_uuid()).fetch_optional(e))?;
    Ok(version.map(|version| LockedRoom { room, version: version.unsigned_abs() }))
}

/// A member under the lock.
pub struct LockedMember {
    pub person: Person,
    pub role: Role,
}

#[derive(sqlx::FromRow)]
struct MemberRow {
    role: String,
    display_name: String,
}

impl LockedRoom {
    /// Reads a member; none if the user is not one.
    pub async fn member(
        &self,
        tx: &mut Tx,
        user: UserId,
    ) -> Result<Option<LockedMember>, StoreError> {
        let found: Option<MemberRow> = on_tx!(tx, e => sqlx::query_as(
            "SELECT m.role, a.display_name FROM active_member m JOIN account a ON a.id = m.user_id
             WHERE m.room_id = $1 AND m.user_id = $2"
        ).bind(self.room.as_uuid()).bind(user.as_uuid()).fetch_optional(e))?;
        let Some(MemberRow { role, display_name }) = found else { return Ok(None) };
        let person = accounts::person(user, &display_name);
        Ok(Some(LockedMember { person, role: db::role(&role)? }))
    }

    /// Whether the room has an owner other than this user.
    pub async fn has_other_owner(&self, tx: &mut Tx, user: UserId) -> Result<bool, StoreError> {
        let other: Option<i32> = on_tx!(tx, e => sqlx::query_scalar(
            "SELECT 1 FROM active_member
             WHERE room_id = $1 AND user_id <> $2 AND role = 'owner' LIMIT 1"
        ).bind(self.room.as_uuid()).bind(user.as_uuid()).fetch_optional(e))?;
        Ok(other.is_some())
    }

    /// The owners other than this user.
    pub async fn other_owners(&self, tx: &mut Tx, user: UserId) -> Result<Vec<UserId>, StoreError> {
        let owners: Vec<Uuid> = on_tx!(tx, e => sqlx::query_scalar(
            "SELECT user_id FROM active_member
             WHERE room_id = $1 AND user_id <> $2 AND role = 'owner' ORDER BY user_id"
        ).bind(self.room.as_uuid()).bind(user.as_uuid()).fetch_all(e))?;
        Ok(owners.into_iter().map(UserId::from).collect())
    }

    /// Changes a member's role and notifies every gateway.
    pub async fn set_role(
        &self,
        tx: &mut Transaction,
        user: UserId,
        role: Role,
    ) -> Result<(), StoreError> {
        on_tx!(tx, e => sqlx::query(
            "UPDATE member SET role = $3 WHERE room_id = $1 AND user_id = $2"
        ).bind(self.room.as_uuid()).bind(user.as_uuid()).bind(role.as_str()).execute(e))?;
        self.notify_gateways(tx, user, Some(role)).await
    }

    /// Makes a member the creator, who may delete the room.
    pub async fn set_creator(&self, tx: &mut Tx, user: UserId) -> Result<(), StoreError> {
        on_tx!(tx, e => sqlx::query("UPDATE room SET creator_id = $2 WHERE id = $1")
            .bind(self.room.as_uuid()).bind(user.as_uuid()).execute(e))?;
        Ok(())
    }

    /// Removes a member: emits the event, then revokes their access at every gateway.
    pub async fn remove(
        &self,
        tx: &mut Transaction,
        user: UserId,
        event: &StoredEvent,
    ) -> Result<(), StoreError> {
        let removed = on_tx!(tx, e => sqlx::query(
            "DELETE FROM member WHERE room_id = $1 AND user_id = $2"
        ).bind(self.room.as_uuid()).bind(user.as_uuid()).execute(e))?;
        on_tx!(tx, e => sqlx::query("UPDATE room SET members = members - $2 WHERE id = $1")
            .bind(self.room.as_uuid()).bind(removed as i64).execute(e))?;
        tx.emit(self.room, event).await?;
        self.revoke_access(tx, user).await
    }

    /// Revokes a non-member's access at every gateway: tickets with a lower version are refused, and sockets leave the
    /// room.
    pub async fn revoke_access(
        &self,
        tx: &mut Transaction,
        user: UserId,
    ) -> Result<(), StoreError> {
        self.notify_gateways(tx, user, None).await
    }

    async fn notify_gateways(
        &self,
        tx: &mut Transaction,
        user: UserId,
        role: Option<Role>,
    ) -> Result<(), StoreError> {
        let state = MemberState { version: self.version, role };
        Ok(tx.set_member(self.room, user, state).await?)
    }
}
