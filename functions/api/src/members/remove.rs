//! `DELETE /room/{name}/member/{userId}`: leaves a room, or removes or bans a member.

use axum::{extract::State, http::StatusCode};
use chrono::Utc;
use protocol::{Role, RoomId, RoomName, Timestamp, UserId, stored::StoredEvent};
use serde::Deserialize;
use store::{
    db::{Tx, on_tx},
    members::{self, LockedMember},
};

use super::access;
use crate::{
    docs::refusals::{USER_OVER, refusals},
    error::ApiError,
    extract::{AuthUser, MemberPath, Params, Trace},
    state::AppState,
};

/// Query parameters of DELETE /room/{name}/member/{userId}.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RemovalQuery {
    /// Ban the user: they cannot join again until an owner or moderator adds them.
    ban: Option<bool>,
}

refusals!(
    RemoveMemberRefusals: NotAMember, Banned, NotAModerator, NotAnOwner, NoSuchMember, LastOwner, OverBudget(USER_OVER)
);

/// Remove or ban a member, or leave
#[utoipa::path(delete, path = "/room/{name}/member/{userId}", operation_id = "remove_member", tag = "rooms",
    params(("name" = RoomName, Path), ("userId" = UserId, Path), RemovalQuery), security(("access" = [])),
    responses((status = 204), RemoveMemberRefusals))]
pub async fn remove(
    State(state): State<AppState>,
    user: AuthUser,
    Trace(trace): Trace,
    MemberPath(name, target): MemberPath,
    Params(RemovalQuery { ban }): Params<RemovalQuery>,
) -> Result<StatusCode, ApiError> {
    let (me, banned) = (user.id(), ban.unwrap_or(false));
    if me == target && banned {
        let detail = "you cannot ban yourself; omit it to leave".to_owned();
        return Err(ApiError::Invalid { field: "ban", detail });
    }
    let room = access::membership(&state, &name, me).await?.room.room_id();
    state.budgets.charge_user(me).await?;
    let mut tx = state.begin(trace).await?;
    let locked = members::lock(&mut tx, room).await?.ok_or(ApiError::NoSuchRoom)?;
    let mine = locked.member(&mut tx, me).await?.ok_or(ApiError::NotAMember)?;
    let theirs = locked.member(&mut tx, target).await?;
    if me != target {
        check_may_remove(mine.role, theirs.as_ref().map(|theirs| theirs.role))?;
    } else if mine.role == Role::Owner && !locked.has_other_owner(&mut tx, me).await? {
        return Err(ApiError::LastOwner);
    }
    if banned {
        insert_ban(&mut tx, room, target, me).await?;
    }
    match theirs {
        Some(LockedMember { person, .. }) => {
            let at = Timestamp::now();
            let event = if me == target {
                StoredEvent::MemberLeft { user: person, at }
            } else {
                StoredEvent::MemberRemoved { user: person, by: me, banned, at }
            };
            locked.remove(&mut tx, target, &event).await?;
        }
        None if banned => locked.revoke_access(&mut tx, target).await?,
        None => return Err(ApiError::NoSuchMember),
    }
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Owners may remove anybody, moderators only ordinary members and users who are not members.
fn check_may_remove(mine: Role, theirs: Option<Role>) -> Result<(), ApiError> {
    match mine {
        Role::Owner => Ok(()),
        Role::Moderator if theirs.is_none_or(|theirs| theirs < Role::Moderator) => Ok(()),
        Role::Moderator => Err(ApiError::NotAnOwner),
        Role::Member => Err(ApiError::NotAModerator),
    }
}

/// Inserts a ban. The user need not be a member: the ban then prevents them from joining.
async fn insert_ban(tx: &mut Tx, room: RoomId, user: UserId, by: UserId) -> Result<(), ApiError> {
    let exists: Option<i32> = on_tx!(tx, e => sqlx::query_scalar(
        "SELECT 1 FROM account WHERE id = $1 AND deleted_at IS NULL"
    ).bind(user.as_uuid()).fetch_optional(e))?;
    exists.ok_or(ApiError::NoSuchMember)?;
    on_tx!(tx, e => sqlx::query(
        "INSERT INTO ban (room_id, user_id, banned_by, at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (room_id, user_id) DO NOTHING"
    )
    .bind(room.as_uuid())
    .bind(user.as_uuid())
    .bind(by.as_uuid())
    .bind(Utc::now())
    .execute(e))?;
    Ok(())
}
