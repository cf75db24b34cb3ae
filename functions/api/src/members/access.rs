//! Authorisation in a room: looks up a room by name with the caller's membership or ban.

use protocol::{Role, RoomName, UserId};
use store::db::{self, on_db};

use crate::{error::ApiError, room_row::RoomRow, state::AppState};

/// A room and the caller's role in it.
pub struct Membership {
    pub room: RoomRow,
    pub role: Role,
}

/// A room with one user's membership and ban.
#[derive(sqlx::FromRow)]
pub struct RoomAccess {
    #[sqlx(flatten)]
    pub room: RoomRow,
    /// `None` if the user is not an active member: the view `active_member` excludes banned members.
    role: Option<String>,
    pub banned: bool,
}

impl RoomAccess {
    /// The user's role, if they are a member.
    pub fn role(&self) -> Result<Option<Role>, ApiError> {
        Ok(self.role.as_deref().map(db::role).transpose()?)
    }

    /// The membership, or the refusal. For users who are not members, a private room does not exist.
    pub fn into_membership(self) -> Result<Membership, ApiError> {
        match self.role()? {
            Some(role) => Ok(Membership { room: self.room, role }),
            None if self.room.private => Err(ApiError::NoSuchRoom),
            None if self.banned => Err(ApiError::Banned),
            None => Err(ApiError::NotAMember),
        }
    }
}

/// Finds a room by its name, in any case. A room that the previous version created has no key until the next sweep of
/// the archive; it is found by its exact name.
pub async fn find(
    state: &AppState,
    name: &RoomName,
    user: UserId,
) -> Result<Option<RoomAccess>, ApiError> {
    Ok(on_db!(&state.store.database, e => sqlx::query_as(
        "SELECT r.id, r.name, r.title, r.private, r.password_hash IS NOT NULL AS has_password,
           r.creator_id, r.created_at, r.version, COALESCE(l.archived_seq, 0) AS archived_seq,
           m.role, b.user_id IS NOT NULL AS banned
         FROM room r LEFT JOIN room_log l ON l.room_id = r.id
         LEFT JOIN active_member m ON m.room_id = r.id AND m.user_id = $2
         LEFT JOIN ban b ON b.room_id = r.id AND b.user_id = $2
         WHERE r.folded_name = $1 AND r.deleted_at IS NULL OR r.folded_name IS NULL AND r.name = $3"
    ).bind(name.key()).bind(user.as_uuid()).bind(name.as_str()).fetch_optional(e))?)
}

/// Finds a room that the caller must be a member of.
pub async fn membership(
    state: &AppState,
    name: &RoomName,
    user: UserId,
) -> Result<Membership, ApiError> {
    find(state, name, user).await?.ok_or(ApiError::NoSuchRoom)?.into_membership()
}
