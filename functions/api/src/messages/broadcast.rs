//! `POST /room/{name}/broadcast`: an owner or moderator sends a notice to all members of a room.

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

/// Request body of POST /room/{name}/broadcast.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    #[schema(schema_with = MessageText::seen_schema)]
    msg: MessageText,
}

/// Response of POST /room/{name}/broadcast.
#[derive(Serialize, utoipa::ToSchema)]
pub struct SentNotice {
    /// The seq of the stored event.
    #[schema(value_type = u64)]
    seq: Seq,
}

refusals!(BroadcastRefusals: NotAMember, Banned, NotAModerator, OverBudget(USER_OVER), OverBudget(ROOM_OVER));

/// Send a notice to all members
#[utoipa::path(post, path = "/room/{name}/broadcast", operation_id = "send_notice", tag = "rooms",
    params(("name" = RoomName, Path)), request_body = Notice, security(("access" = [])),
    responses((status = 202, body = SentNotice), BroadcastRefusals))]
pub async fn broadcast(
    State(state): State<AppState>,
    user: AuthUser,
    Trace(trace): Trace,
    RoomPath(name): RoomPath,
    Body(Notice { msg }): Body<Notice>,
) -> Result<(StatusCode, Json<SentNotice>), ApiError> {
    let membership = access::membership(&state, &name, user.id()).await?;
    if membership.role < Role::Moderator {
        return Err(ApiError::NotAModerator);
    }
    message_rules::check_text(&msg, false, state.config.message_chars)?;
    state.budgets.charge_room(user.id(), membership.room.room_id()).await?;
    let from = accounts::load_person(&state, user.id()).await?;
    let event = StoredEvent::RoomBroadcast { from, msg, at: Timestamp::now() };
    let dedupe_id = uuid::Uuid::now_v7().to_string();
    let room = membership.room.room_id();
    let seq = state.store.log.append_once(room, &dedupe_id, &event, Some(trace)).await?.seq;
    Ok((StatusCode::ACCEPTED, Json(SentNotice { seq })))
}
