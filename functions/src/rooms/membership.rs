//! Who is in a room as what, how somebody gets in, and the lock under which that changes.

use chrono::Utc;
use protocol::{
    DisplayName, RoomId, RoomName, Timestamp, UserId,
    stored::{Person, StoredEvent},
    subject::Shards,
    token::Role,
};
use service::trace::TraceParent;
use uuid::Uuid;

use super::room::{RoomRow, select_room};
use crate::{
    accounts,
    db::{Database, Tx, on_db, on_tx},
    error::ApiError,
    outbox::Owed,
    state::State,
};

/// A room and the caller's role in it.
pub struct Membership {
    pub room: RoomRow,
    pub role: Role,
}

/// A room as one user stands to it.
#[derive(sqlx::FromRow)]
pub struct Standing {
    #[sqlx(flatten)]
    pub room: RoomRow,
    /// Of an active member: a ban is above a membership.
    role: Option<String>,
    pub banned: bool,
}

impl Standing {
    /// The role of a member.
    pub fn role(&self) -> Result<Option<Role>, ApiError> {
        self.role.as_ref().map(parse_role).transpose()
    }

    /// The membership; a private room does not exist for others.
    pub fn into_membership(self) -> Result<Membership, ApiError> {
        match self.role()? {
            Some(role) => Ok(Membership { room: self.room, role }),
            None if self.room.private => Err(ApiError::NoSuchRoom),
            None if self.banned => Err(ApiError::Banned),
            None => Err(ApiError::NotAMember),
        }
    }
}

/// A room by its name, if there is one.
pub async fn find(
    state: &State,
    name: &RoomName,
    user: UserId,
) -> Result<Option<Standing>, ApiError> {
    Ok(on_db!(&state.database, e => sqlx::query_as(select_room!(
        ", m.role, b.user_id IS NOT NULL AS banned
         FROM room r LEFT JOIN room_log l ON l.room_id = r.id
         LEFT JOIN active_member m ON m.room_id = r.id AND m.user_id = $2
         LEFT JOIN ban b ON b.room_id = r.id AND b.user_id = $2
         WHERE r.name = $1"
    )).bind(name.as_str()).bind(user.as_uuid()).fetch_optional(e))?)
}

/// A room that the caller is a member of.
pub async fn membership(
    state: &State,
    name: &RoomName,
    user: UserId,
) -> Result<Membership, ApiError> {
    find(state, name, user).await?.ok_or(ApiError::NoSuchRoom)?.into_membership()
}

/// What lets somebody into a room. It is looked at again when they come in: the room may have been
/// closed, or have another password by then.
pub enum Way<'a> {
    /// They made it.
    Theirs,
    /// An owner or moderator takes them in; a ban is lifted.
    TakenIn { by: UserId },
    /// It is public and asks for no password.
    Open,
    /// They knew the password with this hash.
    Password(&'a str),
}

/// Makes somebody a member, with the event that tells the room. Nothing if they are one already, are
/// banned, or the way in is closed.
pub async fn add(
    tx: &mut Tx,
    shards: Shards,
    room: RoomId,
    (user, role): (Person, Role),
    way: Way<'_>,
    trace: TraceParent,
) -> Result<Option<Owed>, ApiError> {
    let (is_theirs, hash) = match way {
        Way::Theirs | Way::TakenIn { .. } => (true, None),
        Way::Open => (false, None),
        Way::Password(hash) => (false, Some(hash)),
    };
    // First the lock of the room's row, which bans, removals, changes and the deletion of the room take
    // too: what one of them has committed is seen by the statements below, and what comes later sees
    // the new member.
    let is_open = on_tx!(tx, e => sqlx::query(
        "UPDATE room SET members = members + 1 WHERE id = $1 AND deleted_at IS NULL
           AND ($2 OR password_hash = $3 OR (NOT private AND password_hash IS NULL))"
    ).bind(room.as_uuid()).bind(is_theirs).bind(hash).execute(e))?;
    if is_open == 0 {
        return Ok(None);
    }
    if let Way::TakenIn { by } = way {
        take_in(tx, room, by, user.id).await?;
    }
    let added = on_tx!(tx, e => sqlx::query(
        "INSERT INTO member (room_id, user_id, role, joined_at)
         SELECT r.id, $2, $3, $4 FROM room r WHERE r.id = $1
           AND NOT EXISTS (SELECT 1 FROM ban b WHERE b.room_id = r.id AND b.user_id = $2)
         ON CONFLICT (room_id, user_id) DO NOTHING"
    )
    .bind(room.as_uuid())
    .bind(user.id.as_uuid())
    .bind(role_text(role))
    .bind(Utc::now())
    .execute(e));
    match added {
        Ok(0) => {
            on_tx!(tx, e => sqlx::query("UPDATE room SET members = members - 1 WHERE id = $1")
                .bind(room.as_uuid()).execute(e))?;
            return Ok(None);
        }
        Ok(_) => {}
        Err(error) => return Err(error.into()),
    }
    let event = StoredEvent::MemberJoined { user, at: Timestamp::now() };
    let owed = Owed::event(shards, room, &event, trace);
    owed.record(tx).await?;
    Ok(Some(owed))
}

/// Under the room's lock: whoever takes somebody in still may, and a ban of theirs is lifted.
async fn take_in(tx: &mut Tx, room: RoomId, by: UserId, user: UserId) -> Result<(), ApiError> {
    let role: Option<String> = on_tx!(tx, e => sqlx::query_scalar(
        "SELECT role FROM active_member WHERE room_id = $1 AND user_id = $2"
    ).bind(room.as_uuid()).bind(by.as_uuid()).fetch_optional(e))?;
    match role.map(parse_role).transpose()? {
        Some(role) if role >= Role::Moderator => {}
        Some(_) => return Err(ApiError::NotAModerator),
        None => return Err(ApiError::NotAMember),
    }
    on_tx!(tx, e => sqlx::query("DELETE FROM ban WHERE room_id = $1 AND user_id = $2")
        .bind(room.as_uuid()).bind(user.as_uuid()).execute(e))?;
    Ok(())
}

/// The caller as others see them.
pub async fn person(state: &State, id: UserId) -> Result<Person, ApiError> {
    let row = accounts::find_user(state, id).await?;
    as_person(id, &row.display_name)
}

/// A user by the display name that the database holds.
pub fn as_person(id: UserId, display_name: &str) -> Result<Person, ApiError> {
    let name = DisplayName::parse(display_name)
        .map_err(|error| ApiError::Internal(anyhow::anyhow!("a stored display name: {error}")))?;
    Ok(Person { id, name })
}

/// Some rooms that a user is a member of or has made.
pub async fn of_user(
    database: &Database,
    user: UserId,
    limit: i64,
) -> Result<Vec<RoomId>, ApiError> {
    let rooms: Vec<Uuid> = on_db!(database, e => sqlx::query_scalar(
        "SELECT room_id FROM member WHERE user_id = $1
         UNION SELECT id FROM room WHERE creator_id = $1 AND deleted_at IS NULL LIMIT $2"
    ).bind(user.as_uuid()).bind(limit).fetch_all(e))?;
    Ok(rooms.into_iter().map(RoomId::from).collect())
}

/// The members of a room, locked: nobody else removes one or changes a role until the transaction
/// ends, and tickets given before it are older than its version.
pub struct Locked {
    pub room: RoomId,
    pub version: u64,
}

/// Takes the lock; none for a room that is deleted.
pub async fn lock(tx: &mut Tx, room: RoomId) -> Result<Option<Locked>, ApiError> {
    let version: Option<i64> = on_tx!(tx, e => sqlx::query_scalar(
        "UPDATE room SET version = version + 1 WHERE id = $1 AND deleted_at IS NULL
         RETURNING version"
    ).bind(room.as_uuid()).fetch_optional(e))?;
    Ok(version.map(|version| Locked { room, version: u64::try_from(version).unwrap_or(0) }))
}

/// A room under the lock.
pub async fn reload(tx: &mut Tx, room: RoomId) -> Result<RoomRow, ApiError> {
    let row: Option<RoomRow> = on_tx!(tx, e => sqlx::query_as(select_room!(
        " FROM room r LEFT JOIN room_log l ON l.room_id = r.id WHERE r.id = $1"
    )).bind(room.as_uuid()).fetch_optional(e))?;
    row.ok_or(ApiError::NoSuchRoom)
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
    ) -> Result<Option<LockedMember>, ApiError> {
        let found: Option<MemberRow> = on_tx!(tx, e => sqlx::query_as(
            "SELECT m.role, a.display_name FROM active_member m JOIN account a ON a.id = m.user_id
             WHERE m.room_id = $1 AND m.user_id = $2"
        ).bind(self.room.as_uuid()).bind(user.as_uuid()).fetch_optional(e))?;
        let Some(MemberRow { role, display_name }) = found else { return Ok(None) };
        let person = as_person(user, &display_name)?;
        Ok(Some(LockedMember { person, role: parse_role(role)? }))
    }

    /// Whether the room has an owner beside this user.
    pub async fn has_other_owner(&self, tx: &mut Tx, user: UserId) -> Result<bool, ApiError> {
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
    ) -> Result<Owed, ApiError> {
        on_tx!(tx, e => sqlx::query(
            "UPDATE member SET role = $3 WHERE room_id = $1 AND user_id = $2"
        ).bind(self.room.as_uuid()).bind(user.as_uuid()).bind(role_text(role)).execute(e))?;
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
    ) -> Result<[Owed; 2], ApiError> {
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
    ) -> Result<Owed, ApiError> {
        self.tell(tx, user, None, trace).await
    }

    async fn tell(
        &self,
        tx: &mut Tx,
        user: UserId,
        role: Option<Role>,
        trace: TraceParent,
    ) -> Result<Owed, ApiError> {
        let owed = Owed::member(self.room, user, self.version, role, trace);
        owed.record(tx).await?;
        Ok(owed)
    }
}

pub const fn role_text(role: Role) -> &'static str {
    match role {
        Role::Member => "member",
        Role::Moderator => "moderator",
        Role::Owner => "owner",
    }
}

pub fn parse_role(text: impl AsRef<str>) -> Result<Role, ApiError> {
    match text.as_ref() {
        "member" => Ok(Role::Member),
        "moderator" => Ok(Role::Moderator),
        "owner" => Ok(Role::Owner),
        other => Err(ApiError::Internal(anyhow::anyhow!("a stored role is {other:?}"))),
    }
}
