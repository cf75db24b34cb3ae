//! `PATCH /room/{name}/member/{userId}`: changes a member's role.

use axum::{Json, extract::State};
use protocol::{Role, RoomName, UserId};
use serde::Deserialize;
use store::members;

use super::{
    access,
    list::{self, Member},
};
use crate::{
    docs::refusals::{USER_OVER, refusals},
    error::ApiError,
    extract::{AuthUser, Body, MemberPath, Trace},
    state::AppState,
};

/// Request body of PATCH /room/{name}/member/{userId}.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleChange {
    role: Role,
}

refusals!(ChangeRoleRefusals: NotAMember, Banned, NotAnOwner, NoSuchMember, LastOwner, OverBudget(USER_OVER));

/// Change a member's role
#[utoipa::path(patch, path = "/room/{name}/member/{userId}", operation_id = "change_role", tag = "rooms",
    params(("name" = RoomName, Path), ("userId" = UserId, Path)), request_body = RoleChange, security(("access" = [])),
    responses((status = 200, body = Member), ChangeRoleRefusals))]
pub async fn change_role(
    State(state): State<AppState>,
    user: AuthUser,
    Trace(trace): Trace,
    MemberPath(name, target): MemberPath,
    Body(RoleChange { role }): Body<RoleChange>,
) -> Result<Json<Member>, ApiError> {
    let room = access::membership(&state, &name, user.id()).await?.room;
    state.budgets.charge_user(user.id()).await?;
    let mut tx = state.begin(trace).await?;
    let locked = members::lock(&mut tx, room.room_id()).await?.ok_or(ApiError::NoSuchRoom)?;
    let me = locked.member(&mut tx, user.id()).await?.ok_or(ApiError::NotAMember)?;
    if me.role < Role::Owner {
        return Err(ApiError::NotAnOwner);
    }
    let member = locked.member(&mut tx, target).await?.ok_or(ApiError::NoSuchMember)?;
    let is_demoted = member.role == Role::Owner && role < Role::Owner;
    if is_demoted && !locked.has_other_owner(&mut tx, target).await? {
        return Err(ApiError::LastOwner);
    }
    if member.role != role {
        locked.set_role(&mut tx, target, role).await?;
        tx.commit().await?;
    }
    list::find_member(&state, &room, target).await?.map(Json).ok_or(ApiError::NoSuchMember)
}
