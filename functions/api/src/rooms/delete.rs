//! `DELETE /room/{name}`: its creator only.

use std::time::Duration;

use axum::{extract::State, http::StatusCode};
use protocol::RoomName;
use store::rooms;

use crate::{
    docs::refusals::{USER_OVER, refusals},
    error::ApiError,
    extract::{AuthUser, RoomPath, Trace},
    members::access,
    state::AppState,
};

/// How long the caller waits for the files to go.
const REMOVE_WITHIN: Duration = Duration::from_secs(2);

refusals!(NotDeleted: NotTheCreator, OverBudget(USER_OVER));

/// Delete a room
#[utoipa::path(delete, path = "/room/{name}", operation_id = "delete_room", tag = "rooms",
    params(("name" = RoomName, Path)), security(("access" = [])),
    responses((status = 204), NotDeleted))]
pub async fn delete(
    State(state): State<AppState>,
    user: AuthUser,
    Trace(trace): Trace,
    RoomPath(name): RoomPath,
) -> Result<StatusCode, ApiError> {
    let found = access::find(&state, &name, user.id()).await?.ok_or(ApiError::NoSuchRoom)?;
    if found.room.creator_id != user.id().as_uuid() {
        // A private room does not exist for others; its creator may have left it.
        let is_seen = !found.room.private || found.role()?.is_some();
        return Err(if is_seen { ApiError::NotTheCreator } else { ApiError::NoSuchRoom });
    }
    state.budgets.charge_user(user.id()).await?;
    let room = found.room.room_id();
    let mut tx = state.begin(trace).await?;
    if !rooms::end(&mut tx, room, user.id()).await? {
        return Err(ApiError::NoSuchRoom);
    }
    tx.commit().await?;
    // What cannot be removed now, `archive` removes; the storage has logged why.
    let files = rooms::object_prefix(room);
    let _ = tokio::time::timeout(REMOVE_WITHIN, state.storage.delete_all(&files)).await;
    Ok(StatusCode::NO_CONTENT)
}
