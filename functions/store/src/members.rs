//! The members of a room, and the lock under which that changes.

use protocol::{
    Role, RoomId, UserId,
    stored::{Person, StoredEvent},
    subject::Shards,
};
use service::trace::TraceParent;

use crate::{
    StoreError, accounts,
    db::{self, Tx, on_tx},
    outbox::Owed,
};

/// The members of a room, locked: nobody else removes one or changes a role until the transaction
/// ends, and tickets given before it are older than its version.
pub struct Locked {
    pub room: RoomId,
    pub version: u64,
}

/// Takes the lock; none for a room that is deleted.
pub async fn lock(tx: &mut Tx, room: RoomId) -> Result<Option<Locked>, StoreError> {
    let version: Option<i64> = on_tx!(tx, e => sqlx::query_scalar(
        "UPDATE room SET version = version + 1 WHERE id = $1 AND deleted_at IS NULL
         RETURNING version"
    ).bind(room.as_uuid()).fetch_optional(e))?;
    Ok(version.map(|version| Locked { room, version: version.unsigned_abs() }))
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

impl Locked {
    /// A member as they are now.
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
        let person = accounts::person(user, &display_name)?;
        Ok(Some(LockedMember { person, role: db::role(&role)? }))
    }

    /// Whether the room has an owner beside this user.
    pub async fn has_other_owner(&self, tx: &mut Tx, user: UserId) -> Result<bool, StoreError> {
        let other: Option<i32> = on_tx!(tx, e => sqlx::query_scalar(
            "SELECT 1 FROM active_member
             WHERE room_id = $1 AND user_id <> $2 AND role = 'owner' LIMIT 1"
        ).bind(self.room.as_uuid()).bind(user.as_uuid()).fetch_optional(e))?;
        Ok(other.is_some())
    }

    /// Gives a member another role, with what tells the gateways.
    pub async fn set_role(
        &self,
        tx: &mut Tx,
        user: UserId,
        role: Role,
        trace: TraceParent,
    ) -> Result<Owed, StoreError> {
        on_tx!(tx, e => sqlx::query(
            "UPDATE member SET role = $3 WHERE room_id = $1 AND user_id = $2"
        ).bind(self.room.as_uuid()).bind(user.as_uuid()).bind(role.as_str()).execute(e))?;
        self.tell(tx, user, Some(role), trace).await
    }

    /// Takes a member out, with the event that tells the room and what tells the gateways.
    pub async fn remove(
        &self,
        tx: &mut Tx,
        shards: Shards,
        user: UserId,
        event: &StoredEvent,
        trace: TraceParent,
    ) -> Result<[Owed; 2], StoreError> {
        let removed = on_tx!(tx, e => sqlx::query(
            "DELETE FROM member WHERE room_id = $1 AND user_id = $2"
        ).bind(self.room.as_uuid()).bind(user.as_uuid()).execute(e))?;
        on_tx!(tx, e => sqlx::query("UPDATE room SET members = members - $2 WHERE id = $1")
            .bind(self.room.as_uuid()).bind(removed as i64).execute(e))?;
        let event = Owed::event(shards, self.room, event, trace);
        event.record(tx).await?;
        Ok([event, self.tell(tx, user, None, trace).await?])
    }

    /// Has every gateway take out a user who is not a member, or should not be: a ticket or socket of
    /// theirs ends with this version of the room.
    pub async fn shut_out(
        &self,
        tx: &mut Tx,
        user: UserId,
        trace: TraceParent,
    ) -> Result<Owed, StoreError> {
        self.tell(tx, user, None, trace).await
    }

    async fn tell(
        &self,
        tx: &mut Tx,
        user: UserId,
        role: Option<Role>,
        trace: TraceParent,
    ) -> Result<Owed, StoreError> {
        let owed = Owed::member(self.room, user, self.version, role, trace);
        owed.record(tx).await?;
        Ok(owed)
    }
}
