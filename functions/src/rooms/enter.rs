//! `GET /room/{name}`: enter a room, with a ticket for the gateway.

use axum::{Json, extract::State as Shared};
use protocol::{limits, token::Role};
use serde::Serialize;

use super::room::{self, Room, RoomRow};
use crate::{
    db::on_db,
    error::{ApiError, Problem},
    extract::{AuthUser, InRoom, Trace},
    outbox,
    state::State,
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
    head: u64,
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

/// Enter a room; a public one takes the caller in as a member
#[utoipa::path(get, path = "/room/{name}", tag = "rooms", params(("name" = String, Path)), security(("access" = [])),
    responses((status = 200, body = Entered), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub async fn enter(
    Shared(state): Shared<State>,
    user: AuthUser,
    Trace(trace): Trace,
    InRoom(name): InRoom,
) -> Result<Json<Entered>, ApiError> {
    let found = room::find(&state, &name, user.id()).await?;
    let person = room::person(&state, user.id()).await?;
    let (room, role) = match found {
        Some((room, Some(role))) => (room, role),
        Some((room, None)) if !room.private => {
            let mut tx = state.database.begin().await?;
            let id = room.room_id();
            let owed =
                room::add_member(&state, &mut tx, id, person.clone(), Role::Member, trace).await?;
            tx.commit().await?;
            outbox::publish(&state.database, &state.log, owed.as_slice()).await;
            (room, Role::Member)
        }
        _ => return Err(ApiError::NoSuchRoom),
    };
    let ticket = state.minter.ticket(&user.access, person.name, room.room_id(), role, 0)?;
    let count = on_db!(&state.database, e => sqlx::query_scalar(
        "SELECT COUNT(*) FROM member WHERE room_id = $1"
    ).bind(room.id).fetch_one(e))?;
    Ok(Json(Entered {
        you: You { role },
        ticket,
        ticket_expires_in: limits::TICKET_SECONDS,
        gateway: state.config.gateway_url.as_str().trim_end_matches('/').to_owned(),
        head: head(&state, &room).await,
        members: MemberCount { count },
        room: room.into(),
    }))
}

/// The newest seq; without NATS the newest archived one, as reading goes on.
async fn head(state: &State, room: &RoomRow) -> u64 {
    match state.log.last(room.room_id()).await {
        Ok(last) => last.map_or(0, |entry| entry.seq).max(room.archived()),
        Err(error) => {
            tracing::warn!(%error, "the head of a room is taken from the database");
            room.archived()
        }
    }
}
