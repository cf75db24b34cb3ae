//! A room as everyone sees it; `POST /room`; who is in it.

use axum::{Json, extract::State as Shared, http::StatusCode};
use chrono::{DateTime, Utc};
use protocol::{
    DisplayName, RoomId, RoomName, RoomTitle, Timestamp, UserId,
    stored::{Person, StoredEvent},
    token::Role,
};
use serde::{Deserialize, Serialize};
use service::trace::TraceParent;
use uuid::Uuid;

use crate::{
    accounts,
    db::{self, Tx, on_db, on_tx},
    error::{ApiError, Problem},
    extract::{AuthUser, Body, Trace},
    outbox::{self, Owed},
    state::State,
};

/// A room.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Room {
    pub id: RoomId,
    pub name: String,
    pub title: Option<String>,
    /// Only members see it.
    pub private: bool,
    pub creator_id: UserId,
    pub created_at: Timestamp,
}

/// A room as the database holds it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct RoomRow {
    pub id: Uuid,
    pub name: String,
    pub title: Option<String>,
    pub private: bool,
    pub creator_id: Uuid,
    pub created_at: DateTime<Utc>,
    pub archived_seq: i64,
}

impl RoomRow {
    pub fn room_id(&self) -> RoomId {
        self.id.into()
    }

    /// Every event up to this seq is in the database.
    pub fn archived(&self) -> u64 {
        u64::try_from(self.archived_seq).unwrap_or(0)
    }
}

impl From<RoomRow> for Room {
    fn from(row: RoomRow) -> Self {
        let RoomRow { id, name, title, private, creator_id, created_at, .. } = row;
        Self {
            id: id.into(),
            name,
            title,
            private,
            creator_id: creator_id.into(),
            created_at: created_at.into(),
        }
    }
}

/// A room to be made.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewRoom {
    name: RoomName,
    title: Option<RoomTitle>,
    private: Option<bool>,
}

/// Make a room
#[utoipa::path(post, path = "/room", tag = "rooms", request_body = NewRoom, security(("access" = [])),
    responses((status = 201, body = Room), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub async fn create(
    Shared(state): Shared<State>,
    user: AuthUser,
    Trace(trace): Trace,
    Body(NewRoom { name, title, private }): Body<NewRoom>,
) -> Result<(StatusCode, Json<Room>), ApiError> {
    let creator = person(&state, user.id()).await?;
    let room = Room {
        id: RoomId::generate(),
        name: name.as_str().to_owned(),
        title: title.map(|title| title.as_str().to_owned()),
        private: private.unwrap_or(false),
        creator_id: user.id(),
        created_at: Timestamp::now(),
    };
    let mut tx = state.database.begin().await?;
    let inserted = on_tx!(&mut tx, e => sqlx::query(
        "INSERT INTO room (id, name, title, private, creator_id, created_at)
         VALUES ($1, $2, $3, $4, $5, $6)"
    )
    .bind(room.id.as_uuid())
    .bind(&room.name)
    .bind(&room.title)
    .bind(room.private)
    .bind(room.creator_id.as_uuid())
    .bind(room.created_at.utc())
    .execute(e));
    match inserted {
        Err(error) if db::is_taken(&error) => return Err(ApiError::RoomExists),
        result => result?,
    };
    let owed = add_member(&state, &mut tx, room.id, creator, Role::Owner, trace).await?;
    tx.commit().await?;
    outbox::publish(&state.database, &state.log, owed.as_slice()).await;
    Ok((StatusCode::CREATED, Json(room)))
}

/// Makes somebody a member, with the event that tells the room. Nothing if they are one already.
pub async fn add_member(
    state: &State,
    tx: &mut Tx,
    room: RoomId,
    user: Person,
    role: Role,
    trace: TraceParent,
) -> Result<Option<Owed>, ApiError> {
    let added = on_tx!(tx, e => sqlx::query(
        "INSERT INTO member (room_id, user_id, role, joined_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (room_id, user_id) DO NOTHING"
    )
    .bind(room.as_uuid())
    .bind(user.id.as_uuid())
    .bind(role_text(role))
    .bind(Utc::now())
    .execute(e));
    match added {
        Ok(0) => return Ok(None),
        Ok(_) => {}
        // Deleted since it was looked up.
        Err(error) if db::is_gone(&error) => return Err(ApiError::NoSuchRoom),
        Err(error) => return Err(error.into()),
    }
    let event = StoredEvent::MemberJoined { user, at: Timestamp::now() };
    let owed = Owed::event(state.config.shards, room, &event, trace);
    owed.record(tx).await?;
    Ok(Some(owed))
}

/// The caller as others see them.
pub async fn person(state: &State, id: UserId) -> Result<Person, ApiError> {
    let row = accounts::find_user(state, id).await?;
    let name = DisplayName::parse(&row.display_name)
        .map_err(|error| ApiError::Internal(anyhow::anyhow!("a stored display name: {error}")))?;
    Ok(Person { id, name })
}

/// A room and the caller's role in it.
pub struct Membership {
    pub room: RoomRow,
    pub role: Role,
}

#[derive(sqlx::FromRow)]
struct RoomAndRole {
    #[sqlx(flatten)]
    room: RoomRow,
    role: Option<String>,
}

/// A room, and the role of a user who is a member of it.
pub async fn find(
    state: &State,
    name: &RoomName,
    user: UserId,
) -> Result<Option<(RoomRow, Option<Role>)>, ApiError> {
    let found: Option<RoomAndRole> = on_db!(&state.database, e => sqlx::query_as(
        "SELECT r.id, r.name, r.title, r.private, r.creator_id, r.created_at, r.archived_seq, m.role
         FROM room r LEFT JOIN member m ON m.room_id = r.id AND m.user_id = $2
         WHERE r.name = $1"
    ).bind(name.as_str()).bind(user.as_uuid()).fetch_optional(e))?;
    found
        .map(|RoomAndRole { room, role }| Ok((room, role.map(parse_role).transpose()?)))
        .transpose()
}

/// A room that the caller is a member of. A private one does not exist for others.
pub async fn membership(
    state: &State,
    name: &RoomName,
    user: UserId,
) -> Result<Membership, ApiError> {
    match find(state, name, user).await? {
        Some((room, Some(role))) => Ok(Membership { room, role }),
        Some((room, None)) if !room.private => Err(ApiError::NotAMember),
        _ => Err(ApiError::NoSuchRoom),
    }
}

pub const fn role_text(role: Role) -> &'static str {
    match role {
        Role::Member => "member",
        Role::Moderator => "moderator",
        Role::Owner => "owner",
    }
}

pub fn parse_role(text: impl AsRef<str>) -> Result<Role, ApiError> {
    match text.as_ref() {
        "member" => Ok(Role::Member),
        "moderator" => Ok(Role::Moderator),
        "owner" => Ok(Role::Owner),
        other => Err(ApiError::Internal(anyhow::anyhow!("a stored role is {other:?}"))),
    }
}
