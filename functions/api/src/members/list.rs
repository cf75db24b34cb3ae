//! `GET /room/{name}/member`: who is in a room. Also: who becomes what there, and who goes.

use std::collections::HashSet;

use axum::{Json, extract::State as Shared, http::StatusCode};
use chrono::{DateTime, Utc};
use protocol::{Role, RoomId, RoomName, Timestamp, UserId, stored::StoredEvent};
use serde::{Deserialize, Serialize};
use service::presence;
use store::{
    db::{self, Tx, on_db, on_tx},
    members::{self, LockedMember},
    outbox,
};
use uuid::Uuid;

use super::{membership, room::RoomRow};
use crate::{
    docs::refusals::{USER_OVER, refusals},
    error::ApiError,
    extract::{AuthUser, Body, InRoom, OfMember, Params, Trace},
    paging::{self, Page, Paging},
    state::State,
};

/// A member.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    id: UserId,
    name: String,
    display_name: String,
    role: Role,
    joined_at: Timestamp,
    /// Connected to the room right now; null where the gateways did not say.
    online: Option<bool>,
}

#[derive(sqlx::FromRow)]
struct MemberRow {
    id: Uuid,
    name: String,
    display_name: String,
    role: String,
    joined_at: DateTime<Utc>,
}

refusals!(NotListed: NotAMember, Banned);

/// List a room's members
#[utoipa::path(get, path = "/room/{name}/member", operation_id = "list_members", tag = "rooms",
    params(("name" = RoomName, Path), Paging),
    security(("access" = [])),
    responses((status = 200, body = Page<Member>), NotListed))]
pub async fn members(
    Shared(state): Shared<State>,
    user: AuthUser,
    InRoom(name): InRoom,
    Params(Paging { cursor, limit }): Params<Paging>,
) -> Result<Json<Page<Member>>, ApiError> {
    let room = membership::membership(&state, &name, user.id()).await?.room;
    let limit = limit.unwrap_or_default();
    let after: Option<Uuid> = cursor.as_deref().map(paging::decode).transpose()?;
    let rows: Vec<MemberRow> = on_db!(&state.database, e => sqlx::query_as(
        "SELECT a.id, a.name, a.display_name, m.role, m.joined_at
         FROM (SELECT user_id, role, joined_at FROM active_member
               WHERE room_id = $1 AND user_id > $2 ORDER BY user_id LIMIT $3) m
         JOIN account a ON a.id = m.user_id ORDER BY m.user_id"
    )
    .bind(room.id)
    .bind(after.unwrap_or(Uuid::nil()))
    .bind(limit.and_one())
    .fetch_all(e))?;
    let (rows, next) = paging::cut(rows, limit, |row| row.id);
    Ok(Json(Page { items: described(&state, room.room_id(), rows).await?, next }))
}

/// One member of a room.
pub async fn one(state: &State, room: &RoomRow, user: UserId) -> Result<Option<Member>, ApiError> {
    let row: Option<MemberRow> = on_db!(&state.database, e => sqlx::query_as(
        "SELECT a.id, a.name, a.display_name, m.role, m.joined_at
         FROM active_member m JOIN account a ON a.id = m.user_id
         WHERE m.room_id = $1 AND m.user_id = $2"
    ).bind(room.id).bind(user.as_uuid()).fetch_optional(e))?;
    Ok(described(state, room.room_id(), row.into_iter().collect()).await?.pop())
}

/// With who is online, which the gateways know.
async fn described(
    state: &State,
    room: RoomId,
    rows: Vec<MemberRow>,
) -> Result<Vec<Member>, ApiError> {
    let ids: Vec<UserId> = rows.iter().map(|row| row.id.into()).collect();
    let online: Option<HashSet<UserId>> = presence::online(&state.nats, room, &ids)
        .await
        .inspect_err(|error| tracing::warn!(%error, "who is online is not known"))
        .ok();
    let members = rows.into_iter().map(|row| {
        let MemberRow { id, name, display_name, role, joined_at } = row;
        let (id, role) = (UserId::from(id), db::role(&role)?);
        let online = online.as_ref().map(|online| online.contains(&id));
        Ok(Member { id, name, display_name, role, joined_at: joined_at.into(), online })
    });
    members.collect()
}

/// What somebody is to be.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleChange {
    role: Role,
}

refusals!(NotChanged: NotAMember, Banned, NotAnOwner, NoSuchMember, LastOwner, OverBudget(USER_OVER));

/// Make a member something else
#[utoipa::path(patch, path = "/room/{name}/member/{userId}", tag = "rooms",
    params(("name" = RoomName, Path), ("userId" = UserId, Path)), request_body = RoleChange, security(("access" = [])),
    responses((status = 200, body = Member), NotChanged))]
pub async fn change_role(
    Shared(state): Shared<State>,
    user: AuthUser,
    Trace(trace): Trace,
    OfMember(name, target): OfMember,
    Body(RoleChange { role }): Body<RoleChange>,
) -> Result<Json<Member>, ApiError> {
    let room = membership::membership(&state, &name, user.id()).await?.room;
    state.budgets.charge_user(user.id()).await?;
    let mut tx = state.database.begin().await?;
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
        let owed = locked.set_role(&mut tx, target, role, trace).await?;
        tx.commit().await?;
        outbox::publish(&state.database, &state.log, &[owed]).await;
    }
    one(&state, &room, target).await?.map(Json).ok_or(ApiError::NoSuchMember)
}

/// Whether they may come again.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Removal {
    /// They may not come in again until somebody takes them in.
    ban: Option<bool>,
}

refusals!(
    NotRemoved: NotAMember, Banned, NotAModerator, NotAnOwner, NoSuchMember, LastOwner, OverBudget(USER_OVER)
);

/// Remove or ban a member, or leave
#[utoipa::path(delete, path = "/room/{name}/member/{userId}", operation_id = "remove_member", tag = "rooms",
    params(("name" = RoomName, Path), ("userId" = UserId, Path), Removal), security(("access" = [])),
    responses((status = 204), NotRemoved))]
pub async fn remove(
    Shared(state): Shared<State>,
    user: AuthUser,
    Trace(trace): Trace,
    OfMember(name, target): OfMember,
    Params(Removal { ban }): Params<Removal>,
) -> Result<StatusCode, ApiError> {
    let (me, banned) = (user.id(), ban.unwrap_or(false));
    if me == target && banned {
        let detail = "nobody bans themselves; leave without it".to_owned();
        return Err(ApiError::Invalid { field: "ban", detail });
    }
    let room = membership::membership(&state, &name, me).await?.room.room_id();
    state.budgets.charge_user(me).await?;
    let mut tx = state.database.begin().await?;
    let locked = members::lock(&mut tx, room).await?.ok_or(ApiError::NoSuchRoom)?;
    let mine = locked.member(&mut tx, me).await?.ok_or(ApiError::NotAMember)?;
    let theirs = locked.member(&mut tx, target).await?;
    if me != target {
        may_remove(mine.role, theirs.as_ref().map(|theirs| theirs.role))?;
    } else if mine.role == Role::Owner && !locked.has_other_owner(&mut tx, me).await? {
        return Err(ApiError::LastOwner);
    }
    if banned {
        self::ban(&mut tx, room, target, me).await?;
    }
    let mut owed = Vec::new();
    match theirs {
        Some(LockedMember { person, .. }) => {
            let at = Timestamp::now();
            let event = if me == target {
                StoredEvent::MemberLeft { user: person, at }
            } else {
                StoredEvent::MemberRemoved { user: person, by: me, banned, at }
            };
            owed.extend(locked.remove(&mut tx, state.config.shards, target, &event, trace).await?);
        }
        None if banned => owed.push(locked.shut_out(&mut tx, target, trace).await?),
        None => return Err(ApiError::NoSuchMember),
    }
    tx.commit().await?;
    outbox::publish(&state.database, &state.log, &owed).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Moderators remove members; owners remove anybody. An owner who removes another stays one.
fn may_remove(mine: Role, theirs: Option<Role>) -> Result<(), ApiError> {
    match mine {
        Role::Owner => Ok(()),
        Role::Moderator if theirs.is_none_or(|theirs| theirs < Role::Moderator) => Ok(()),
        Role::Moderator => Err(ApiError::NotAnOwner),
        Role::Member => Err(ApiError::NotAModerator),
    }
}

/// Also somebody who is not a member: they will not become one.
async fn ban(tx: &mut Tx, room: RoomId, user: UserId, by: UserId) -> Result<(), ApiError> {
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
