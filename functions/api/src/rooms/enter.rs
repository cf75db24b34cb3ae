//! `GET /room/{name}`: returns a room with a ticket to join it at a gateway. Entering an open room makes the caller a
//! member.

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

/// Response of GET /room/{name}: what a client needs to join the room at a gateway.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoomEntry {
    room: Room,
    you: OwnMembership,
    /// For one `join-room`.
    ticket: String,
    /// Lifetime of the ticket in seconds.
    ticket_expires_in: i64,
    /// URL of the Socket.IO gateway.
    gateway: String,
    /// The seq of the room's newest event.
    #[schema(value_type = u64)]
    head: Seq,
    members: MemberCount,
}

/// The caller in the room.
#[derive(Serialize, utoipa::ToSchema)]
pub struct OwnMembership {
    role: Role,
}

/// The number of members.
#[derive(Serialize, utoipa::ToSchema)]
pub struct MemberCount {
    count: i64,
}

/// Everything that entering reads from the database, in one statement.
#[derive(sqlx::FromRow)]
struct EntryRow {
    #[sqlx(flatten)]
    access: RoomAccess,
    display_name: String,
    members: i64,
}

refusals!(EnterRoomRefusals: NotAMember, Banned, PasswordRequired, OverBudget(USER_OVER), OverBudget(ROOM_OVER));

/// Enter a room; entering a public room makes the caller a member
#[utoipa::path(get, path = "/room/{name}", operation_id = "enter_room", tag = "rooms",
    params(("name" = RoomName, Path)), security(("access" = [])),
    responses((status = 200, body = RoomEntry), EnterRoomRefusals))]
pub async fn enter(
    State(state): State<AppState>,
    user: AuthUser,
    Trace(trace): Trace,
    RoomPath(name): RoomPath,
) -> Result<Json<RoomEntry>, ApiError> {
    let mut found = find(&state, &name, user.id()).await?;
    // Refuses early if the room's stream is behind the database: it accepts no events then.
    state.store.log.check(found.access.room.room_id())?;
    if is_new_here(&found.access)? {
        let person = accounts::person(user.id(), &found.display_name);
        let id = found.access.room.room_id();
        state.budgets.charge_room(user.id(), id).await?;
        let mut tx = state.begin(trace).await?;
        add_member(&mut tx, id, (person, Role::Member), JoinGrant::Open).await?;
        tx.commit().await?;
        found = find(&state, &name, user.id()).await?;
        // The room may have become private or got a password between the two reads: refuse like a room that was so
        // before.
        is_new_here(&found.access)?;
    }
    let EntryRow { access, display_name, members } = found;
    let membership = access.into_membership()?;
    let (room, role) = (membership.room, membership.role);
    let Person { name, .. } = accounts::person(user.id(), &display_name);
    let minter = state.keys.minter()?;
    let ticket = minter.ticket(&user.access, name, room.room_id(), role, room.version)?;
    Ok(Json(RoomEntry {
        you: OwnMembership { role },
        ticket,
        ticket_expires_in: minter.lifetimes().ticket,
        gateway: state.config.site.gateway_url.as_str().trim_end_matches('/').to_owned(),
        head: head(&state, &room).await,
        members: MemberCount { count: members },
        room: room.into(),
    }))
}

async fn find(state: &AppState, name: &RoomName, user: UserId) -> Result<EntryRow, ApiError> {
    let found: Option<EntryRow> = on_db!(&state.store.database, e => sqlx::query_as(
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
         WHERE r.folded_name = $1 AND r.deleted_at IS NULL OR r.folded_name IS NULL AND r.name = $3"
    ).bind(name.key()).bind(user.as_uuid()).bind(name.as_str()).fetch_optional(e))?;
    found.ok_or(ApiError::NoSuchRoom)
}

/// Whether the caller is not a member yet, but may join by entering. An error if they may not.
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

/// The newest seq of a room. If NATS does not answer, the newest archived seq, so that history stays readable.
async fn head(state: &AppState, room: &RoomRow) -> Seq {
    match state.store.log.last(room.room_id()).await {
        Ok(last) => last.map_or(Seq::ZERO, |entry| entry.seq).max(room.archived_seq),
        Err(error) => {
            tracing::warn!(%error, "reading a room's newest seq from NATS failed; using the archived seq");
            room.archived_seq
        }
    }
}
