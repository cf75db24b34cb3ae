//! `POST /room/{name}/member`: an owner or moderator adds a user, or the caller joins with the room's password.

use axum::{Json, extract::State, http::StatusCode};
use protocol::{Role, RoomId, RoomName, UserId, UserName, stored::Person};
use serde::Deserialize;
use store::{
    accounts,
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
    state::AppState,
};

/// Request body of POST /room/{name}/member: either the name of a user to add, or the password to join oneself.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMember {
    /// The user to add, by an owner or moderator. This lifts a ban.
    name: Option<UserName>,
    /// The room's password, to join oneself.
    password: Option<ClaimedPassword>,
}

#[derive(sqlx::FromRow)]
struct InvitedUserRow {
    id: Uuid,
    display_name: String,
}

/// A user who passed the checks and can be added in a transaction.
struct AdmittedUser {
    room: RoomId,
    person: Person,
    grant: JoinGrant,
    /// The attempt at the room's password. It is counted as successful in the same transaction.
    attempt: Option<LoginAttempt>,
}

refusals!(
    JoinRefusals: NotAMember, Banned, NotAModerator, NoSuchUser, NoSuchMember, WrongPassword,
    TooManyAttempts(FIRST_WAIT), OverBudget(USER_OVER), OverBudget(ROOM_OVER)
);

/// Add a user, or join with the room's password
#[utoipa::path(post, path = "/room/{name}/member", operation_id = "join_room", tag = "rooms",
    params(("name" = RoomName, Path)),
    request_body = NewMember, security(("access" = [])),
    responses((status = 201, body = Member),
        (status = 200, description = "The user was a member already", body = Member), JoinRefusals))]
pub async fn join(
    State(state): State<AppState>,
    user: AuthUser,
    Trace(trace): Trace,
    RoomPath(room): RoomPath,
    Body(NewMember { name, password }): Body<NewMember>,
) -> Result<(StatusCode, Json<Member>), ApiError> {
    let admitted = match (name, password) {
        (Some(name), None) => Some(invite(&state, &room, user.id(), &name).await?),
        (None, Some(password)) => join_by_password(&state, &room, user.id(), password).await?,
        _ => {
            let detail = "give either a name, to add a user, or a password, to join".to_owned();
            return Err(ApiError::Invalid { field: "name", detail });
        }
    };
    let (id, added) = match admitted {
        Some(AdmittedUser { room, person, grant, attempt }) => {
            let id = person.id;
            let mut tx = state.begin(trace).await?;
            if let Some(attempt) = attempt {
                attempt.succeeded(&mut tx).await?;
            }
            let added = add_member(&mut tx, room, (person, Role::Member), grant).await?;
            tx.commit().await?;
            (id, added)
        }
        None => (user.id(), false),
    };
    let found = access::membership(&state, &room, user.id()).await?;
    let member = list::find_member(&state, &found.room, id).await?.ok_or(ApiError::NoSuchMember)?;
    Ok((if added { StatusCode::CREATED } else { StatusCode::OK }, Json(member)))
}

/// Checks that the caller may add users, and finds the user to add.
async fn invite(
    state: &AppState,
    room: &RoomName,
    by: UserId,
    name: &UserName,
) -> Result<AdmittedUser, ApiError> {
    let found = access::membership(state, room, by).await?;
    if found.role < Role::Moderator {
        return Err(ApiError::NotAModerator);
    }
    let invited: Option<InvitedUserRow> = on_db!(&state.store.database, e => sqlx::query_as(
        "SELECT id, display_name FROM account WHERE name = $1"
    ).bind(name.as_str()).fetch_optional(e))?;
    let InvitedUserRow { id, display_name } = invited.ok_or(ApiError::NoSuchUser)?;
    let room = found.room.room_id();
    state.budgets.charge_room(by, room).await?;
    let person = accounts::person(id.into(), &display_name);
    Ok(AdmittedUser { room, person, grant: JoinGrant::Invited { by }, attempt: None })
}

/// Checks the room's password. Returns `None` if the caller is a member already. Responses and their timing do not
/// reveal whether a private room exists.
async fn join_by_password(
    state: &AppState,
    name: &RoomName,
    user: UserId,
    password: ClaimedPassword,
) -> Result<Option<AdmittedUser>, ApiError> {
    let access = access::find(state, name, user).await?;
    if access.as_ref().map(RoomAccess::role).transpose()?.flatten().is_some() {
        return Ok(None);
    }
    if access.as_ref().is_some_and(|access| access.banned && !access.room.private) {
        return Err(ApiError::Banned);
    }
    let attempt = LoginAttempt::room(name, user);
    let mut tx = state.store.database.begin().await?;
    attempt.admit(&mut tx).await?;
    let hash: Option<String> = on_tx!(&mut tx, e => sqlx::query_scalar(
        "SELECT password_hash FROM room
         WHERE (folded_name = $1 AND deleted_at IS NULL OR folded_name IS NULL AND name = $2)
           AND password_hash IS NOT NULL"
    ).bind(name.key()).bind(name.as_str()).fetch_optional(e))?;
    tx.commit().await?;
    // A public room without a password can be joined with any password.
    let is_open =
        access.as_ref().is_some_and(|RoomAccess { room, .. }| !room.private && !room.has_password);
    let requester = Requester::User(user);
    let is_correct = is_open
        || attempt
            .verify((&state.store.database, &state.hasher), requester, password, hash.clone())
            .await?;
    let access = match access {
        Some(access) if is_correct && !access.banned => access,
        Some(access) if !access.room.private => return Err(ApiError::WrongPassword),
        _ => return Err(ApiError::NoSuchRoom),
    };
    let person = crate::accounts::load_person(state, user).await?;
    let room = access.room.room_id();
    let charged = state.budgets.charge_room(user, room).await;
    attempt.unless_failed(&state.store.database, charged).await?;
    let grant = hash.filter(|_| !is_open).map_or(JoinGrant::Open, JoinGrant::Password);
    Ok(Some(AdmittedUser { room, person, grant, attempt: Some(attempt) }))
}
