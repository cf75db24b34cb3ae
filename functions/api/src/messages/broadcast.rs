//! `POST /room/{name}/broadcast`: a notice to the whole room.

use axum::{Json, extract::State, http::StatusCode};
use protocol::{MessageText, Role, RoomName, Seq, Timestamp, message_rules, stored::StoredEvent};
use serde::{Deserialize, Serialize};

use crate::{
    accounts,
    docs::refusals::{ROOM_OVER, USER_OVER, refusals},
    error::ApiError,
    extract::{AuthUser, Body, RoomPath, Trace},
    members::access,
    state::AppState,
};

/// A notice.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    #[schema(schema_with = MessageText::seen_schema)]
    msg: MessageText,
}

/// Where it was stored.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Accepted {
    #[schema(value_type = u64)]
    seq: Seq,
}

refusals!(NotSent: NotAMember, Banned, NotAModerator, OverBudget(USER_OVER), OverBudget(ROOM_OVER));

/// Tell the whole room
#[utoipa::path(post, path = "/room/{name}/broadcast", tag = "rooms", params(("name" = RoomName, Path)),
    request_body = Notice, security(("access" = [])),
    responses((status = 202, body = Accepted), NotSent))]
pub async fn broadcast(
    State(state): State<AppState>,
    user: AuthUser,
    Trace(trace): Trace,
    RoomPath(name): RoomPath,
    Body(Notice { msg }): Body<Notice>,
) -> Result<(StatusCode, Json<Accepted>), ApiError> {
    let membership = access::membership(&state, &name, user.id()).await?;
    if membership.role < Role::Moderator {
        return Err(ApiError::NotAModerator);
    }
    message_rules::check_text(&msg, false, state.config.message_chars)?;
    state.budgets.charge_room(user.id(), membership.room.room_id()).await?;
    let from = accounts::person(&state, user.id()).await?;
    let event = StoredEvent::RoomBroadcast { from, msg, at: Timestamp::now() };
    let id = uuid::Uuid::now_v7().to_string();
    let room = membership.room.room_id();
    let seq = state.store.log.append_once(room, &id, &event, Some(trace)).await?.seq;
    Ok((StatusCode::ACCEPTED, Json(Accepted { seq })))
}
