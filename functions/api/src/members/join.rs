//! `POST /room/{name}/member`: a room's owners and moderators take somebody in, or somebody who knows
//! its password comes in.

use axum::{Json, extract::State as Shared, http::StatusCode};
use protocol::{Role, RoomName, UserId, UserName, stored::Person};
use serde::Deserialize;
use service::trace::TraceParent;
use store::{
    accounts,
    db::{Tx, on_db, on_tx},
    hash_queue::Requester,
    outbox,
    password::ClaimedPassword,
    throttle::{FIRST_WAIT, Guess},
};
use uuid::Uuid;

use super::{
    member::{self, Member},
    membership::{self, Standing, Way},
};
use crate::{
    docs::refusals::{ROOM_OVER, USER_OVER, refusals},
    error::ApiError,
    extract::{AuthUser, Body, InRoom, Trace},
    state::State,
};

/// Who is to become a member: the user with this name, or, without one, the caller.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMember {
    /// Somebody else: owners and moderators only. A ban of theirs is lifted.
    name: Option<UserName>,
    /// The room's, to come in oneself.
    password: Option<ClaimedPassword>,
}

#[derive(sqlx::FromRow)]
struct Named {
    id: Uuid,
    display_name: String,
}

refusals!(
    NotJoined: NotAMember, Banned, NotAModerator, NoSuchUser, NoSuchMember, WrongPassword, TooManyAttempts(FIRST_WAIT),
    OverBudget(USER_OVER), OverBudget(ROOM_OVER)
);

/// Take somebody in, or come in with the room's password
#[utoipa::path(post, path = "/room/{name}/member", operation_id = "join_room", tag = "rooms",
    params(("name" = RoomName, Path)),
    request_body = NewMember, security(("access" = [])),
    responses((status = 201, body = Member), (status = 200, description = "They were one before", body = Member),
        NotJoined))]
pub async fn join(
    Shared(state): Shared<State>,
    user: AuthUser,
    Trace(trace): Trace,
    InRoom(room): InRoom,
    Body(NewMember { name, password }): Body<NewMember>,
) -> Result<(StatusCode, Json<Member>), ApiError> {
    let (id, added) = match (name, password) {
        (Some(name), None) => invite(&state, &room, user.id(), &name, trace).await?,
        (None, Some(password)) => {
            (user.id(), come_in(&state, &room, user.id(), password, trace).await?)
        }
        _ => {
            let detail = "give a name, to take somebody in, or a password, to come in".to_owned();
            return Err(ApiError::Invalid { field: "name", detail });
        }
    };
    let found = membership::membership(&state, &room, user.id()).await?;
    let member = member::one(&state, &found.room, id).await?.ok_or(ApiError::NoSuchMember)?;
    Ok((if added { StatusCode::CREATED } else { StatusCode::OK }, Json(member)))
}

async fn invite(
    state: &State,
    room: &RoomName,
    by: UserId,
    name: &UserName,
    trace: TraceParent,
) -> Result<(UserId, bool), ApiError> {
    let found = membership::membership(state, room, by).await?;
    if found.role < Role::Moderator {
        return Err(ApiError::NotAModerator);
    }
    let named: Option<Named> = on_db!(&state.database, e => sqlx::query_as(
        "SELECT id, display_name FROM account WHERE name = $1"
    ).bind(name.as_str()).fetch_optional(e))?;
    let Named { id, display_name } = named.ok_or(ApiError::NoSuchUser)?;
    state.budgets.charge_room(by, found.room.room_id()).await?;
    let who = accounts::person(id.into(), &display_name)?;
    let tx = state.database.begin().await?;
    let added = add(state, tx, &found.room, who, Way::TakenIn { by }, trace).await?;
    Ok((id.into(), added))
}

/// A private room is not told from none, however long one listens.
async fn come_in(
    state: &State,
    name: &RoomName,
    user: UserId,
    password: ClaimedPassword,
    trace: TraceParent,
) -> Result<bool, ApiError> {
    let standing = membership::find(state, name, user).await?;
    if standing.as_ref().map(Standing::role).transpose()?.flatten().is_some() {
        return Ok(false);
    }
    if standing.as_ref().is_some_and(|standing| standing.banned && !standing.room.private) {
        return Err(ApiError::Banned);
    }
    let guess = Guess::room(name, user);
    let mut tx = state.database.begin().await?;
    guess.admit(&mut tx).await?;
    let hash: Option<String> = on_tx!(&mut tx, e => sqlx::query_scalar(
        "SELECT password_hash FROM room WHERE name = $1 AND password_hash IS NOT NULL"
    ).bind(name.as_str()).fetch_optional(e))?;
    tx.commit().await?;
    // A public room without a password takes anybody in, whatever they think it is.
    let is_open = standing.as_ref().is_some_and(|it| !it.room.private && !it.room.has_password);
    let requester = Requester::User(user);
    let is_right = is_open
        || guess
            .verify((&state.database, &state.hasher), requester, password, hash.clone())
            .await?;
    let standing = match standing {
        Some(standing) if is_right && !standing.banned => standing,
        Some(standing) if !standing.room.private => return Err(ApiError::WrongPassword),
        _ => return Err(ApiError::NoSuchRoom),
    };
    let person = membership::person(state, user).await?;
    let charged = state.budgets.charge_room(user, standing.room.room_id()).await;
    guess.unless_failed(&state.database, charged).await?;
    let mut tx = state.database.begin().await?;
    guess.succeeded(&mut tx).await?;
    let way = hash.as_deref().filter(|_| !is_open).map_or(Way::Open, Way::Password);
    add(state, tx, &standing.room, person, way, trace).await
}

async fn add(
    state: &State,
    mut tx: Tx,
    room: &super::room::RoomRow,
    who: Person,
    way: Way<'_>,
    trace: TraceParent,
) -> Result<bool, ApiError> {
    let (shards, member) = (state.config.shards, (who, Role::Member));
    let owed = membership::add(&mut tx, shards, room.room_id(), member, way, trace).await?;
    tx.commit().await?;
    outbox::publish(&state.database, &state.log, owed.as_slice()).await;
    Ok(owed.is_some())
}
