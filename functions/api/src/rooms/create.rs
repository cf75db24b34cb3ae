//! `POST /room`.

use axum::{Json, extract::State as Shared, http::StatusCode};
use protocol::{Role, RoomId, RoomName, RoomTitle, Timestamp};
use serde::Deserialize;
use store::{
    db::{UniqueConstraint, on_db, on_tx},
    fold,
    hash_queue::Requester,
    outbox,
    password::RoomPassword,
    rate_limit::RateLimit,
    throttle::FIRST_WAIT,
};

use super::{
    membership::{self, Way},
    room::Room,
};
use crate::{
    docs::refusals::{A_SECOND, USER_OVER, refusals},
    error::ApiError,
    extract::{AuthUser, Body, Trace},
    state::State,
};

/// A room to be made.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewRoom {
    name: RoomName,
    title: Option<RoomTitle>,
    /// Only members see it: others come by invitation.
    private: Option<bool>,
    /// Who wants to become a member has to know it.
    password: Option<RoomPassword>,
}

/// Name and title to be looked for.
pub fn parts(name: &str, title: Option<&str>) -> String {
    fold::parts(&format!("{name} {}", title.unwrap_or_default()))
}

refusals!(
    NotCreated: RoomExists, TooManyAttempts(FIRST_WAIT), OverBudget(USER_OVER), TooManyNewRooms(A_SECOND)
);

/// Make a room
#[utoipa::path(post, path = "/room", operation_id = "create_room", tag = "rooms",
    request_body = NewRoom, security(("access" = [])),
    responses((status = 201, body = Room), NotCreated))]
pub async fn create(
    Shared(state): Shared<State>,
    user: AuthUser,
    Trace(trace): Trace,
    Body(NewRoom { name, title, private, password }): Body<NewRoom>,
) -> Result<(StatusCode, Json<Room>), ApiError> {
    let creator = membership::person(&state, user.id()).await?;
    state.budgets.charge_new_room(user.id()).await?;
    let hash = match password {
        Some(password) => {
            RateLimit::new_passwords(state.config.limits.new_passwords_per_hour, user.id())
                .check(&state.database)
                .await?;
            refuse_taken(&state, &name).await?;
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
    let mut tx = state.database.begin().await?;
    let inserted = on_tx!(&mut tx, e => sqlx::query(
        "INSERT INTO room (id, name, title, parts, private, password_hash, creator_id, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
    )
    .bind(room.id.as_uuid())
    .bind(&room.name)
    .bind(&room.title)
    .bind(parts(&room.name, room.title.as_deref()))
    .bind(room.private)
    .bind(hash)
    .bind(room.creator_id.as_uuid())
    .bind(room.created_at.utc())
    .execute(e));
    match inserted {
        Err(error) if UniqueConstraint::RoomName.is_violated_by(&error) => {
            return Err(ApiError::RoomExists);
        }
        result => result?,
    };
    let shards = state.config.shards;
    let owner = (creator, Role::Owner);
    let owed = membership::add(&mut tx, shards, room.id, owner, Way::Theirs, trace).await?;
    tx.commit().await?;
    outbox::publish(&state.database, &state.log, owed.as_slice()).await;
    Ok((StatusCode::CREATED, Json(room)))
}

/// The unique constraint decides; this saves the hash for a name that is taken.
async fn refuse_taken(state: &State, name: &RoomName) -> Result<(), ApiError> {
    let taken: Option<i32> = on_db!(&state.database, e => sqlx::query_scalar(
        "SELECT 1 FROM room WHERE name = $1"
    ).bind(name.as_str()).fetch_optional(e))?;
    taken.map_or(Ok(()), |_| Err(ApiError::RoomExists))
}
