//! `POST /room/{name}/member`: an owner or moderator adds somebody, or the caller joins by the room's
//! password.

use axum::{Json, extract::State, http::StatusCode};
use protocol::{Role, RoomName, UserId, UserName, stored::Person};
use serde::Deserialize;
use service::trace::TraceParent;
use store::{
    Transaction, accounts,
    db::{on_db, on_tx},
    hash_queue::Requester,
    password::ClaimedPassword,
    throttle::{FIRST_WAIT, LoginAttempt},
};
use uuid::Uuid;

use super::{
    access::{self, RoomAccess},
    join_grant::{JoinGrant, add_member},
    list::{self, Member},
};
use crate::{
    docs::refusals::{ROOM_OVER, USER_OVER, refusals},
    error::ApiError,
    extract::{AuthUser, Body, RoomPath, Trace},
    room_row::RoomRow,
    state::AppState,
};

/// Request body: a name to add that user, or a password to join oneself.
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
    State(state): State<AppState>,
    user: AuthUser,
    Trace(trace): Trace,
    RoomPath(room): RoomPath,
    Body(NewMember { name, password }): Body<NewMember>,
) -> Result<(StatusCode, Json<Member>), ApiError> {
    let (id, added) = match (name, password) {
        (Some(name), None) => invite(&state, &room, user.id(), &name, trace).await?,
        (None, Some(password)) => {
            (user.id(), join_by_password(&state, &room, user.id(), password, trace).await?)
        }
        _ => {
            let detail = "give a name, to take somebody in, or a password, to come in".to_owned();
            return Err(ApiError::Invalid { field: "name", detail });
        }
    };
    let found = access::membership(&state, &room, user.id()).await?;
    let member = list::one(&state, &found.room, id).await?.ok_or(ApiError::NoSuchMember)?;
    Ok((if added { StatusCode::CREATED } else { StatusCode::OK }, Json(member)))
}

async fn invite(
    state: &AppState,
    room: &RoomName,
    by: UserId,
    name: &UserName,
    trace: TraceParent,
) -> Result<(UserId, bool), ApiError> {
    let found = access::membership(state, room, by).await?;
    if found.role < Role::Moderator {
        return Err(ApiError::NotAModerator);
    }
    let named: Option<Named> = on_db!(&state.store.database, e => sqlx::query_as(
        "SELECT id, display_name FROM account WHERE name = $1"
    ).bind(name.as_str()).fetch_optional(e))?;
    let Named { id, display_name } = named.ok_or(ApiError::NoSuchUser)?;
    state.budgets.charge_room(by, found.room.room_id()).await?;
    let who = accounts::person(id.into(), &display_name)?;
    let tx = state.begin(trace).await?;
    let added = add(tx, &found.room, who, JoinGrant::Invited { by }).await?;
    Ok((id.into(), added))
}

/// The answers and their timing do not tell whether a private room exists.
async fn join_by_password(
    state: &AppState,
    name: &RoomName,
    user: UserId,
    password: ClaimedPassword,
    trace: TraceParent,
) -> Result<bool, ApiError> {
    let access = access::find(state, name, user).await?;
    if access.as_ref().map(RoomAccess::role).transpose()?.flatten().is_some() {
        return Ok(false);
    }
    if access.as_ref().is_some_and(|access| access.banned && !access.room.private) {
        return Err(ApiError::Banned);
    }
    let attempt = LoginAttempt::room(name, user);
    let mut tx = state.store.database.begin().await?;
    attempt.admit(&mut tx).await?;
    let hash: Option<String> = on_tx!(&mut tx, e => sqlx::query_scalar(
        "SELECT password_hash FROM room WHERE name = $1 AND password_hash IS NOT NULL"
    ).bind(name.as_str()).fetch_optional(e))?;
    tx.commit().await?;
    // A public room without a password admits anybody, whatever password they send.
    let is_open = access.as_ref().is_some_and(|it| !it.room.private && !it.room.has_password);
    let requester = Requester::User(user);
    let is_right = is_open
        || attempt
            .verify((&state.store.database, &state.hasher), requester, password, hash.clone())
            .await?;
    let access = match access {
        Some(access) if is_right && !access.banned => access,
        Some(access) if !access.room.private => return Err(ApiError::WrongPassword),
        _ => return Err(ApiError::NoSuchRoom),
    };
    let person = crate::accounts::person(state, user).await?;
    let charged = state.budgets.charge_room(user, access.room.room_id()).await;
    attempt.unless_failed(&state.store.database, charged).await?;
    let mut tx = state.begin(trace).await?;
    attempt.succeeded(&mut tx).await?;
    let grant = hash.as_deref().filter(|_| !is_open).map_or(JoinGrant::Open, JoinGrant::Password);
    add(tx, &access.room, person, grant).await
}

async fn add(
    mut tx: Transaction,
    room: &RoomRow,
    user: Person,
    grant: JoinGrant<'_>,
) -> Result<bool, ApiError> {
    let added = add_member(&mut tx, room.room_id(), (user, Role::Member), grant).await?;
    tx.commit().await?;
    Ok(added)
}
