//! `POST /room`: creates a room with the caller as its owner.

use axum::{Json, extract::State, http::StatusCode};
use protocol::{Role, RoomId, RoomName, RoomTitle, Timestamp};
use serde::Deserialize;
use store::{
    db::{UniqueConstraint, on_db, on_tx},
    hash_queue::Requester,
    password::RoomPassword,
    rate_limit::RateLimit,
    search_text::room_search_text,
    throttle::FIRST_WAIT,
};

use super::view::Room;
use crate::{
    accounts,
    docs::refusals::{A_SECOND, USER_OVER, refusals},
    error::ApiError,
    extract::{AuthUser, Body, Trace},
    members::join_grant::{JoinGrant, add_member},
    state::AppState,
};

/// Request body of POST /room.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewRoom {
    name: RoomName,
    title: Option<RoomTitle>,
    /// Visible to members only; others join by invitation or by the password.
    private: Option<bool>,
    /// Required to join without an invitation.
    password: Option<RoomPassword>,
}

refusals!(
    CreateRoomRefusals: RoomExists, TooManyAttempts(FIRST_WAIT), OverBudget(USER_OVER), TooManyNewRooms(A_SECOND)
);

/// Create a room
#[utoipa::path(post, path = "/room", operation_id = "create_room", tag = "rooms",
    request_body = NewRoom, security(("access" = [])),
    responses((status = 201, body = Room), CreateRoomRefusals))]
pub async fn create(
    State(state): State<AppState>,
    user: AuthUser,
    Trace(trace): Trace,
    Body(NewRoom { name, title, private, password }): Body<NewRoom>,
) -> Result<(StatusCode, Json<Room>), ApiError> {
    let creator = accounts::load_person(&state, user.id()).await?;
    state.budgets.charge_new_room(user.id()).await?;
    let hash = match password {
        Some(password) => {
            RateLimit::new_passwords(state.config.limits.new_passwords_per_hour, user.id())
                .check(&state.store.database)
                .await?;
            check_name_is_free(&state, &name).await?;
            Some(state.hasher.hash(Requester::User(user.id()), password).await?)
        }
        None => None,
    };
    let room = Room {
        id: RoomId::generate(),
        name: name.as_str().to_owned(),
        title: title.map(|title| title.as_str().to_owned()),
        private: private.unwrap_or(false),
        password_required: hash.is_some(),
        creator_id: user.id(),
        created_at: Timestamp::now(),
    };
    let mut tx = state.begin(trace).await?;
    let inserted = on_tx!(&mut tx, e => sqlx::query(
        "INSERT INTO room (id, name, title, parts, private, password_hash, creator_id, created_at, folded_name)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
    )
    .bind(room.id.as_uuid())
    .bind(&room.name)
    .bind(&room.title)
    .bind(room_search_text(&room.name, room.title.as_deref()))
    .bind(room.private)
    .bind(hash)
    .bind(room.creator_id.as_uuid())
    .bind(room.created_at.utc())
    .bind(name.key())
    .execute(e));
    match inserted {
        Err(error) if UniqueConstraint::RoomName.is_violated_by(&error) => {
            return Err(ApiError::RoomExists);
        }
        result => result?,
    };
    add_member(&mut tx, room.id, (creator, Role::Owner), JoinGrant::Creator).await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, Json(room)))
}

/// Avoids hashing the password for a name that is taken. The unique constraint decides.
async fn check_name_is_free(state: &AppState, name: &RoomName) -> Result<(), ApiError> {
    let taken: Option<i32> = on_db!(&state.store.database, e => sqlx::query_scalar(
        "SELECT 1 FROM room WHERE folded_name = $1 AND deleted_at IS NULL"
    ).bind(name.key()).fetch_optional(e))?;
    taken.map_or(Ok(()), |_| Err(ApiError::RoomExists))
}
