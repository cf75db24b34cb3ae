//! `DELETE /room/{name}`: deletes a room and its files. Only the room's creator may do this, whatever role they have.

use std::time::Duration;

use axum::{extract::State, http::StatusCode};
use protocol::RoomName;
use store::{room_deletion, storage::room_prefix};

use crate::{
    docs::refusals::{USER_OVER, refusals},
    error::ApiError,
    extract::{AuthUser, RoomPath, Trace},
    members::access,
    state::AppState,
};

/// How long a request waits for the removal of the room's objects from the storage.
const REMOVE_TIMEOUT: Duration = Duration::from_secs(2);

refusals!(DeleteRoomRefusals: NotTheCreator, OverBudget(USER_OVER));

/// Delete a room
#[utoipa::path(delete, path = "/room/{name}", operation_id = "delete_room", tag = "rooms",
    params(("name" = RoomName, Path)), security(("access" = [])),
    responses((status = 204), DeleteRoomRefusals))]
pub async fn delete(
    State(state): State<AppState>,
    user: AuthUser,
    Trace(trace): Trace,
    RoomPath(name): RoomPath,
) -> Result<StatusCode, ApiError> {
    let found = access::find(&state, &name, user.id()).await?.ok_or(ApiError::NoSuchRoom)?;
    if found.room.creator_id != user.id().as_uuid() {
        // For users who are not members, a private room does not exist.
        let is_visible = !found.room.private || found.role()?.is_some();
        return Err(if is_visible { ApiError::NotTheCreator } else { ApiError::NoSuchRoom });
    }
    state.budgets.charge_user(user.id()).await?;
    let room = found.room.room_id();
    let mut tx = state.begin(trace).await?;
    if !room_deletion::mark_deleted(&mut tx, room, user.id()).await? {
        return Err(ApiError::NoSuchRoom);
    }
    tx.commit().await?;
    // The archive function removes objects that are left. The storage has logged the reason.
    if let Ok(storage) = state.storage() {
        let files = room_prefix(room);
        let _ = tokio::time::timeout(REMOVE_TIMEOUT, storage.delete_all(&files)).await;
    }
    Ok(StatusCode::NO_CONTENT)
}
