//! `GET /room/{name}/member`: who is in a room.

use axum::{Json, extract::State as Shared};
use chrono::{DateTime, Utc};
use protocol::{Timestamp, UserId, token::Role};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::room::{self, parse_role};
use crate::{
    db::on_db,
    error::{ApiError, Problem},
    extract::{AuthUser, InRoom, Params},
    paging::{self, Limit, Page},
    state::State,
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
}

#[derive(sqlx::FromRow)]
struct MemberRow {
    id: Uuid,
    name: String,
    display_name: String,
    role: String,
    joined_at: DateTime<Utc>,
}

/// Which page.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Paging {
    cursor: Option<String>,
    limit: Option<Limit>,
}

/// List a room's members
#[utoipa::path(get, path = "/room/{name}/member", tag = "rooms", params(("name" = String, Path), Paging),
    security(("access" = [])),
    responses((status = 200, body = Page<Member>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub async fn members(
    Shared(state): Shared<State>,
    user: AuthUser,
    InRoom(name): InRoom,
    Params(Paging { cursor, limit }): Params<Paging>,
) -> Result<Json<Page<Member>>, ApiError> {
    let room = room::membership(&state, &name, user.id()).await?.room;
    let limit = limit.unwrap_or_default().count();
    let after: Option<Uuid> = cursor.as_deref().map(paging::decode).transpose()?;
    let mut rows: Vec<MemberRow> = on_db!(&state.database, e => sqlx::query_as(
        "SELECT a.id, a.name, a.display_name, m.role, m.joined_at
         FROM member m JOIN account a ON a.id = m.user_id
         WHERE m.room_id = $1 AND m.user_id > $2
         ORDER BY m.user_id LIMIT $3"
    )
    .bind(room.id)
    .bind(after.unwrap_or(Uuid::nil()))
    .bind(limit as i64 + 1)
    .fetch_all(e))?;
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| has_more).map(|row| paging::encode(&row.id));
    let items = rows.into_iter().map(|row| {
        let MemberRow { id, name, display_name, role, joined_at } = row;
        let role = parse_role(role)?;
        Ok(Member { id: id.into(), name, display_name, role, joined_at: joined_at.into() })
    });
    Ok(Json(Page { items: items.collect::<Result<_, ApiError>>()?, next }))
}
