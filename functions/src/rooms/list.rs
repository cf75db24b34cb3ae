//! `GET /room`: the rooms that the caller may see, by name.

use axum::{Json, extract::State as Shared};
use serde::Deserialize;

use super::room::{Room, RoomRow};
use crate::{
    db::on_db,
    error::{ApiError, Problem},
    extract::{AuthUser, Params},
    paging::{self, Limit, Page},
    state::State,
};

/// Which rooms.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// A part of name or title.
    query: Option<String>,
    /// Only rooms that the caller is a member of.
    mine: Option<bool>,
    cursor: Option<String>,
    limit: Option<Limit>,
}

/// The longest part that is looked for.
const QUERY_CHARS: usize = 100;

/// `%`, `_` and `\` stand for themselves.
fn like(part: &str) -> String {
    let mut pattern = String::from("%");
    for c in part.to_lowercase().chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

/// List rooms
#[utoipa::path(get, path = "/room", tag = "rooms", params(Filter), security(("access" = [])),
    responses((status = 200, body = Page<Room>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub async fn list(
    Shared(state): Shared<State>,
    user: AuthUser,
    Params(Filter { query, mine, cursor, limit }): Params<Filter>,
) -> Result<Json<Page<Room>>, ApiError> {
    let limit = limit.unwrap_or_default().count();
    let query = query.unwrap_or_default();
    if query.chars().count() > QUERY_CHARS {
        let detail = format!("has more than {QUERY_CHARS} characters");
        return Err(ApiError::Invalid { field: "query", detail });
    }
    let after: String = cursor.as_deref().map(paging::decode).transpose()?.unwrap_or_default();
    let mut rows: Vec<RoomRow> = on_db!(&state.database, e => sqlx::query_as(
        r"SELECT r.id, r.name, r.title, r.private, r.creator_id, r.created_at, r.archived_seq
          FROM room r LEFT JOIN member m ON m.room_id = r.id AND m.user_id = $1
          WHERE r.name > $2
            AND (m.user_id IS NOT NULL OR (NOT r.private AND NOT $3))
            AND (LOWER(r.name) LIKE $4 ESCAPE '\' OR LOWER(COALESCE(r.title, '')) LIKE $4 ESCAPE '\')
          ORDER BY r.name LIMIT $5"
    )
    .bind(user.id().as_uuid())
    .bind(after)
    .bind(mine.unwrap_or(false))
    .bind(like(&query))
    // One more tells whether there is a next page.
    .bind(limit as i64 + 1)
    .fetch_all(e))?;
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| has_more).map(|row| paging::encode(&row.name));
    Ok(Json(Page { items: rows.into_iter().map(Room::from).collect(), next }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_for_themselves() {
        assert_eq!(like("50%_A\\"), r"%50\%\_a\\%");
    }
}
