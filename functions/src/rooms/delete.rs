//! `DELETE /room/{name}`: its creator only. What NATS and the storage must do is written down in the
//! same transaction, so a crash in the middle leaves nothing undone for ever.

use std::time::Duration;

use axum::{extract::State as Shared, http::StatusCode};
use chrono::Utc;
use protocol::{Timestamp, stored::StoredEvent, subject::Revoked};

use super::room;
use crate::{
    db::on_tx,
    error::{ApiError, Problem},
    extract::{AuthUser, InRoom, Trace},
    files,
    outbox::{self, Owed},
    state::State,
};

/// How long the caller waits for the files to go.
const REMOVE_WITHIN: Duration = Duration::from_secs(2);

/// Delete a room
#[utoipa::path(delete, path = "/room/{name}", tag = "rooms", params(("name" = String, Path)), security(("access" = [])),
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub async fn delete(
    Shared(state): Shared<State>,
    user: AuthUser,
    Trace(trace): Trace,
    InRoom(name): InRoom,
) -> Result<StatusCode, ApiError> {
    let found = room::find(&state, &name, user.id()).await?;
    let (room, role) = found.ok_or(ApiError::NoSuchRoom)?;
    if role.is_none() && room.private {
        return Err(ApiError::NoSuchRoom);
    }
    if room.creator_id != user.id().as_uuid() {
        return Err(ApiError::NotTheCreator);
    }
    let mut tx = state.database.begin().await?;
    let files = files::all_of(room.room_id());
    on_tx!(&mut tx, e => sqlx::query(
        "INSERT INTO doomed_object (object_key, doomed_at) VALUES ($1, $2)
         ON CONFLICT (object_key) DO NOTHING"
    ).bind(&files).bind(Utc::now()).execute(e))?;
    let deleted = on_tx!(&mut tx, e => sqlx::query("DELETE FROM room WHERE id = $1").bind(room.id).execute(e))?;
    if deleted == 0 {
        return Err(ApiError::NoSuchRoom);
    }
    let id = room.room_id();
    let event = StoredEvent::RoomDeleted { by: user.id(), at: Timestamp::now() };
    // The revocation first: who is thrown out must not come in again.
    let owed = [
        Owed::revocation(Revoked::Room(id), trace),
        Owed::event(state.config.shards, id, &event, trace),
    ];
    for one in &owed {
        one.record(&mut tx).await?;
    }
    tx.commit().await?;
    outbox::publish(&state.database, &state.log, &owed).await;
    // What cannot be removed now, `archive` removes; the storage has logged why.
    let _ = tokio::time::timeout(REMOVE_WITHIN, state.storage.delete_all(&files)).await;
    Ok(StatusCode::NO_CONTENT)
}
