//! `DELETE /room/{name}`: its creator only. The room ends at once, for everybody: its row loses its
//! name. What was in it, which may be millions of messages, `archive` removes in steps, so a crash in
//! the middle leaves nothing undone for ever. Also: what becomes of the rooms of a deleted account.

use std::time::Duration;

use axum::{extract::State as Shared, http::StatusCode};
use chrono::Utc;
use protocol::{
    RoomId, RoomName, Timestamp, UserId,
    stored::StoredEvent,
    subject::{Revoked, Shards},
    token::Role,
};
use service::trace::TraceParent;
use uuid::Uuid;

use super::membership::{self, LockedMember};
use crate::{
    budget,
    db::{Tx, on_tx},
    docs::refusals::{USER_OVER, refusals},
    error::ApiError,
    extract::{AuthUser, InRoom, Trace},
    files,
    outbox::{self, Owed},
    state::State,
};

/// How long the caller waits for the files to go.
const REMOVE_WITHIN: Duration = Duration::from_secs(2);

refusals!(NotDeleted: NotTheCreator, OverBudget(USER_OVER));

/// Delete a room
#[utoipa::path(delete, path = "/room/{name}", operation_id = "delete_room", tag = "rooms",
    params(("name" = RoomName, Path)), security(("access" = [])),
    responses((status = 204), NotDeleted))]
pub async fn delete(
    Shared(state): Shared<State>,
    user: AuthUser,
    Trace(trace): Trace,
    InRoom(name): InRoom,
) -> Result<StatusCode, ApiError> {
    let found = membership::find(&state, &name, user.id()).await?.ok_or(ApiError::NoSuchRoom)?;
    if found.room.creator_id != user.id().as_uuid() {
        // A private room does not exist for others; its creator may have left it.
        let is_seen = !found.room.private || found.role()?.is_some();
        return Err(if is_seen { ApiError::NotTheCreator } else { ApiError::NoSuchRoom });
    }
    budget::charge_user(&state, user.id()).await?;
    let room = found.room.room_id();
    let mut tx = state.database.begin().await?;
    let owed = end(&mut tx, state.config.shards, room, user.id(), trace).await?;
    let owed = owed.ok_or(ApiError::NoSuchRoom)?;
    tx.commit().await?;
    outbox::publish(&state.database, &state.log, &owed).await;
    // What cannot be removed now, `archive` removes; the storage has logged why.
    let files = files::all_of(room);
    let _ = tokio::time::timeout(REMOVE_WITHIN, state.storage.delete_all(&files)).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends a room; none if it has ended.
async fn end(
    tx: &mut Tx,
    shards: Shards,
    room: RoomId,
    by: UserId,
    trace: TraceParent,
) -> Result<Option<[Owed; 2]>, ApiError> {
    // No room's name can hold an asterisk, so the name is free again and this one is nobody's.
    let ended = on_tx!(tx, e => sqlx::query(
        "UPDATE room SET deleted_at = $2, name = $3, title = NULL, parts = '', password_hash = NULL
         WHERE id = $1 AND deleted_at IS NULL"
    ).bind(room.as_uuid()).bind(Utc::now()).bind(format!("*{room}")).execute(e))?;
    if ended == 0 {
        return Ok(None);
    }
    on_tx!(tx, e => sqlx::query(
        "INSERT INTO doomed_object (object_key, doomed_at) VALUES ($1, $2)
         ON CONFLICT (object_key) DO NOTHING"
    ).bind(files::all_of(room)).bind(Utc::now()).execute(e))?;
    let event = StoredEvent::RoomDeleted { by, at: Timestamp::now() };
    // The revocation first: who is thrown out must not come in again.
    let owed =
        [Owed::revocation(Revoked::Room(room), trace), Owed::event(shards, room, &event, trace)];
    for one in &owed {
        one.record(tx).await?;
    }
    Ok(Some(owed))
}

/// Takes the user of a deleted account out of a room. Where no other owner is left, the moderator who
/// has been there longest becomes one, or else the member; where nobody is left, the room ends.
pub async fn inherit(
    tx: &mut Tx,
    shards: Shards,
    room: RoomId,
    gone: UserId,
    trace: TraceParent,
) -> Result<Vec<Owed>, ApiError> {
    let mut owed = Vec::new();
    if let Some(locked) = membership::lock(tx, room).await? {
        if let Some(LockedMember { person, role }) = locked.member(tx, gone).await? {
            let is_orphaned = role == Role::Owner && !locked.has_other_owner(tx, gone).await?;
            let heir = if is_orphaned { heir(tx, room, gone).await? } else { None };
            if let Some(heir) = heir {
                owed.push(locked.set_role(tx, heir, Role::Owner, trace).await?);
            }
            if is_orphaned && heir.is_none() {
                owed.extend(end(tx, shards, room, gone, trace).await?.into_iter().flatten());
            } else {
                let event = StoredEvent::MemberLeft { user: person, at: Timestamp::now() };
                owed.extend(locked.remove(tx, shards, gone, &event, trace).await?);
            }
        }
        // Only its creator deletes a room; one without a creator could never be.
        on_tx!(tx, e => sqlx::query(
            "UPDATE room SET creator_id = COALESCE((
               SELECT user_id FROM active_member WHERE room_id = $1 AND role = 'owner'
               ORDER BY joined_at, user_id LIMIT 1), creator_id)
             WHERE id = $1 AND creator_id = $2"
        ).bind(room.as_uuid()).bind(gone.as_uuid()).execute(e))?;
    }
    // Of a room that has ended, the row is all there is.
    on_tx!(tx, e => sqlx::query("DELETE FROM member WHERE room_id = $1 AND user_id = $2")
        .bind(room.as_uuid()).bind(gone.as_uuid()).execute(e))?;
    Ok(owed)
}

async fn heir(tx: &mut Tx, room: RoomId, gone: UserId) -> Result<Option<UserId>, ApiError> {
    let heir: Option<Uuid> = on_tx!(tx, e => sqlx::query_scalar(
        "SELECT user_id FROM active_member WHERE room_id = $1 AND user_id <> $2
         ORDER BY CASE role WHEN 'moderator' THEN 0 ELSE 1 END, joined_at, user_id LIMIT 1"
    ).bind(room.as_uuid()).bind(gone.as_uuid()).fetch_optional(e))?;
    Ok(heir.map(UserId::from))
}
