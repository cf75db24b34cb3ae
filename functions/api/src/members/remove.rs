//! `DELETE /room/{name}/member/{userId}`: leaves a room, or removes or bans a member.

use axum::{extract::State, http::StatusCode};
use protocol::{Role, RoomName, Timestamp, UserId, stored::StoredEvent};
use serde::Deserialize;
use store::{
    bans,
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
    match theirs {
        theirs if banned => {
            if !bans::ban(&mut tx, &locked, target, theirs, me).await? {
                return Err(ApiError::NoSuchMember);
            }
        }
        Some(LockedMember { person, .. }) => {
            let at = Timestamp::now();
            let event = if me == target {
                StoredEvent::MemberLeft { user: person, at }
            } else {
                StoredEvent::MemberRemoved { user: person, by: me, banned: false, at }
            };
            locked.remove(&mut tx, target, &event).await?;
        }
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
