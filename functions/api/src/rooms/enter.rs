//! `GET /room/{name}`: enter a room, with a ticket for the gateway.

use axum::{Json, extract::State};
use protocol::{Role, RoomName, Seq, UserId, stored::Person};
use serde::Serialize;
use store::{accounts, db::on_db};

use super::view::Room;
use crate::{
    docs::refusals::{ROOM_OVER, USER_OVER, refusals},
    error::ApiError,
    extract::{AuthUser, RoomPath, Trace},
    members::{
        access::RoomAccess,
        join_grant::{JoinGrant, add_member},
    },
    room_row::RoomRow,
    state::AppState,
};

/// What is needed to join a room at a gateway.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Entered {
    room: Room,
    you: You,
    /// For `join-room`, once.
    ticket: String,
    /// Seconds.
    ticket_expires_in: i64,
    /// Where Socket.IO is.
    gateway: String,
    /// The seq of the room's newest event.
    #[schema(value_type = u64)]
    head: Seq,
    members: MemberCount,
}

/// The caller in the room.
#[derive(Serialize, utoipa::ToSchema)]
pub struct You {
    role: Role,
}

/// How many are in the room.
#[derive(Serialize, utoipa::ToSchema)]
pub struct MemberCount {
    count: i64,
}

/// All that entering asks of the database, in one statement.
#[derive(sqlx::FromRow)]
struct Entering {
    #[sqlx(flatten)]
    access: RoomAccess,
    display_name: String,
    members: i64,
}

refusals!(NotEntered: NotAMember, Banned, PasswordRequired, OverBudget(USER_OVER), OverBudget(ROOM_OVER));

/// Enter a room; a public one takes the caller in as a member
#[utoipa::path(get, path = "/room/{name}", operation_id = "enter_room", tag = "rooms",
    params(("name" = RoomName, Path)), security(("access" = [])),
    responses((status = 200, body = Entered), NotEntered))]
pub async fn enter(
    State(state): State<AppState>,
    user: AuthUser,
    Trace(trace): Trace,
    RoomPath(name): RoomPath,
) -> Result<Json<Entered>, ApiError> {
    let mut found = find(&state, &name, user.id()).await?;
    // A stream that is behind the database accepts no events.
    state.store.log.check(found.access.room.room_id())?;
    if is_new_here(&found.access)? {
        let person = accounts::person(user.id(), &found.display_name)?;
        let id = found.access.room.room_id();
        state.budgets.charge_room(user.id(), id).await?;
        let mut tx = state.begin(trace).await?;
        add_member(&mut tx, id, (person, Role::Member), JoinGrant::Open).await?;
        tx.commit().await?;
        found = find(&state, &name, user.id()).await?;
        // The room was closed between the two reads: answer as for such a room.
        is_new_here(&found.access)?;
    }
    let Entering { access, display_name, members } = found;
    let membership = access.into_membership()?;
    let (room, role) = (membership.room, membership.role);
    let Person { name, .. } = accounts::person(user.id(), &display_name)?;
    let ticket = state.minter.ticket(&user.access, name, room.room_id(), role, room.version)?;
    Ok(Json(Entered {
        you: You { role },
        ticket,
        ticket_expires_in: state.minter.lifetimes().ticket,
        gateway: state.config.gateway_url.as_str().trim_end_matches('/').to_owned(),
        head: head(&state, &room).await,
        members: MemberCount { count: members },
        room: room.into(),
    }))
}

async fn find(state: &AppState, name: &RoomName, user: UserId) -> Result<Entering, ApiError> {
    let found: Option<Entering> = on_db!(&state.store.database, e => sqlx::query_as(
        "SELECT r.id, r.name, r.title, r.private, r.password_hash IS NOT NULL AS has_password,
           r.creator_id, r.created_at, r.version, COALESCE(l.archived_seq, 0) AS archived_seq,
           m.role, b.user_id IS NOT NULL AS banned, a.display_name,
           r.members - (SELECT COUNT(*) FROM (
             SELECT user_id FROM ban WHERE room_id = r.id ORDER BY user_id LIMIT 1000
           ) banned JOIN member o ON o.room_id = r.id AND o.user_id = banned.user_id) AS members
         FROM room r JOIN account a ON a.id = $2
         LEFT JOIN room_log l ON l.room_id = r.id
         LEFT JOIN active_member m ON m.room_id = r.id AND m.user_id = a.id
         LEFT JOIN ban b ON b.room_id = r.id AND b.user_id = a.id
         WHERE r.name = $1"
    ).bind(name.as_str()).bind(user.as_uuid()).fetch_optional(e))?;
    found.ok_or(ApiError::NoSuchRoom)
}

/// Whether the caller is no member yet but may join by entering.
fn is_new_here(access: &RoomAccess) -> Result<bool, ApiError> {
    if access.role()?.is_some() {
        return Ok(false);
    }
    match &access.room {
        RoomRow { private: true, .. } => Err(ApiError::NoSuchRoom),
        _ if access.banned => Err(ApiError::Banned),
        RoomRow { has_password: true, .. } => Err(ApiError::PasswordRequired),
        _ => Ok(true),
    }
}

/// The newest seq. While NATS does not answer, the newest archived one, so that history stays readable.
async fn head(state: &AppState, room: &RoomRow) -> Seq {
    match state.store.log.last(room.room_id()).await {
        Ok(last) => last.map_or(Seq::ZERO, |entry| entry.seq).max(room.archived_seq),
        Err(error) => {
            tracing::warn!(%error, "the head of a room is taken from the database");
            room.archived_seq
        }
    }
}
