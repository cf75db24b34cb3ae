//! `GET /room/{name}/member`: the members of a room and whether they are online.

use std::collections::HashSet;

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use protocol::{Role, RoomId, RoomName, Timestamp, UserId};
use serde::Serialize;
use service::presence;
use store::db::{self, on_db};
use uuid::Uuid;

use super::access;
use crate::{
    docs::refusals::refusals,
    error::ApiError,
    extract::{AuthUser, Params, RoomPath},
    pagination::{self, Page, PageItem, Paging},
    room_row::RoomRow,
    state::AppState,
};

/// A member.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    id: UserId,
    name: String,
    display_name: String,
    role: Role,
    joined_at: Timestamp,
    /// Whether the member is connected to the room now; null if the gateways did not answer.
    online: Option<bool>,
}

type MemberPage = Page<Member>;

impl PageItem for Member {
    const PAGE: &'static str = "MemberPage";
}

#[derive(sqlx::FromRow)]
struct ListedMemberRow {
    id: Uuid,
    name: String,
    display_name: String,
    role: String,
    joined_at: DateTime<Utc>,
}

refusals!(ListMembersRefusals: NotAMember, Banned);

/// List a room's members
#[utoipa::path(get, path = "/room/{name}/member", operation_id = "list_members", tag = "rooms",
    params(("name" = RoomName, Path), Paging),
    security(("access" = [])),
    responses((status = 200, body = MemberPage), ListMembersRefusals))]
pub async fn list(
    State(state): State<AppState>,
    user: AuthUser,
    RoomPath(name): RoomPath,
    Params(Paging { cursor, limit }): Params<Paging>,
) -> Result<Json<MemberPage>, ApiError> {
    let room = access::membership(&state, &name, user.id()).await?.room;
    let limit = limit.unwrap_or_default();
    let after: Option<Uuid> = cursor.as_deref().map(pagination::decode).transpose()?;
    let rows: Vec<ListedMemberRow> = on_db!(&state.store.database, e => sqlx::query_as(
        "SELECT a.id, a.name, a.display_name, m.role, m.joined_at
         FROM (SELECT user_id, role, joined_at FROM active_member
               WHERE room_id = $1 AND user_id > $2 ORDER BY user_id LIMIT $3) m
         JOIN account a ON a.id = m.user_id ORDER BY m.user_id"
    )
    .bind(room.id)
    .bind(after.unwrap_or(Uuid::nil()))
    .bind(limit.and_one())
    .fetch_all(e))?;
    let (rows, next) = pagination::page_of(rows, limit, |row| row.id);
    Ok(Json(Page { items: with_presence(&state, room.room_id(), rows).await?, next }))
}

/// Finds one member of a room.
pub async fn find_member(
    state: &AppState,
    room: &RoomRow,
    user: UserId,
) -> Result<Option<Member>, ApiError> {
    let row: Option<ListedMemberRow> = on_db!(&state.store.database, e => sqlx::query_as(
        "SELECT a.id, a.name, a.display_name, m.role, m.joined_at
         FROM active_member m JOIN account a ON a.id = m.user_id
         WHERE m.room_id = $1 AND m.user_id = $2"
    ).bind(room.id).bind(user.as_uuid()).fetch_optional(e))?;
    Ok(with_presence(state, room.room_id(), row.into_iter().collect()).await?.pop())
}

/// Adds who is online, which is requested from the gateways.
async fn with_presence(
    state: &AppState,
    room: RoomId,
    rows: Vec<ListedMemberRow>,
) -> Result<Vec<Member>, ApiError> {
    let ids: Vec<UserId> = rows.iter().map(|row| row.id.into()).collect();
    let online: Option<HashSet<UserId>> = presence::online(&state.nats, room, &ids)
        .await
        .inspect_err(|error| tracing::warn!(%error, "asking the gateways who is online failed"))
        .ok();
    let members = rows.into_iter().map(|row| {
        let ListedMemberRow { id, name, display_name, role, joined_at } = row;
        let (id, role) = (UserId::from(id), db::role(&role)?);
        let online = online.as_ref().map(|online| online.contains(&id));
        Ok(Member { id, name, display_name, role, joined_at: joined_at.into(), online })
    });
    members.collect()
}
