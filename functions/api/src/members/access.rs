//! Who is in a room as what, how somebody gets in, and the lock under which that changes.

use chrono::Utc;
use protocol::{
    Role, RoomId, RoomName, Timestamp, UserId,
    stored::{Person, StoredEvent},
    subject::Shards,
};
use service::trace::TraceParent;
use store::{
    accounts,
    db::{self, Tx, on_db, on_tx},
    outbox::Owed,
};

use super::room::{RoomRow, select_room};
use crate::{error::ApiError, state::State};

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
        Ok(self.role.as_deref().map(db::role).transpose()?)
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
    .bind(role.as_str())
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
    match role.as_deref().map(db::role).transpose()? {
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
    let row = crate::accounts::find_user(state, id).await?;
    Ok(accounts::person(id, &row.display_name)?)
}

/// A room under the lock.
pub async fn reload(tx: &mut Tx, room: RoomId) -> Result<RoomRow, ApiError> {
    let row: Option<RoomRow> = on_tx!(tx, e => sqlx::query_as(select_room!(
        " FROM room r LEFT JOIN room_log l ON l.room_id = r.id WHERE r.id = $1"
    )).bind(room.as_uuid()).fetch_optional(e))?;
    row.ok_or(ApiError::NoSuchRoom)
}
