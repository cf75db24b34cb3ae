//! Sessions: `GET /user/session`, `DELETE /user/session/{id}`, and the start of a session, by each login.

use axum::{Json, extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use protocol::{SessionId, Timestamp, UserId};
use serde::Serialize;
use store::{
    Transaction,
    accounts::REFRESH_WITHIN,
    db::{Tx, on_db, on_tx},
    sessions,
};
use uuid::Uuid;

use crate::{
    docs::refusals::refusals,
    error::ApiError,
    extract::{AuthUser, Params, SessionPath, Trace},
    pagination::{self, Page, PageItem, Paging},
    state::AppState,
};

/// Sessions per user. A further login revokes the oldest one.
const SESSIONS_PER_USER: i64 = 100;
/// Sessions over the limit that one login revokes at most. Usually there is one.
const REVOKED_PER_LOGIN: i64 = 100;

/// A login that has not ended.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    id: SessionId,
    created_at: Timestamp,
    /// Time of the last token refresh, or of the login.
    used_at: Timestamp,
    /// `User-Agent` header of the last login or refresh.
    user_agent: Option<String>,
    /// Whether this is the session of the request.
    current: bool,
}

type SessionPage = Page<Session>;

impl PageItem for Session {
    const PAGE: &'static str = "SessionPage";
}

/// Columns of the table `session`.
#[derive(sqlx::FromRow)]
pub struct SessionRow {
    pub id: Uuid,
    pub created_at: DateTime<Utc>,
    pub used_at: Option<DateTime<Utc>>,
    pub user_agent: Option<String>,
}

impl Session {
    pub fn of(row: SessionRow, current: SessionId) -> Self {
        let SessionRow { id, created_at, used_at, user_agent } = row;
        Self {
            current: id == current.as_uuid(),
            id: id.into(),
            created_at: created_at.into(),
            used_at: used_at.unwrap_or(created_at).into(),
            user_agent,
        }
    }
}

/// List my sessions
#[utoipa::path(get, path = "/user/session", operation_id = "list_sessions", tag = "accounts",
    params(Paging), security(("access" = [])),
    responses((status = 200, body = SessionPage)))]
pub async fn sessions(
    State(state): State<AppState>,
    user: AuthUser,
    Params(Paging { cursor, limit }): Params<Paging>,
) -> Result<Json<SessionPage>, ApiError> {
    let limit = limit.unwrap_or_default();
    let after: Option<Uuid> = cursor.as_deref().map(pagination::decode).transpose()?;
    let rows = page(&state, user.id(), after, limit.and_one()).await?;
    let (rows, next) = pagination::page_of(rows, limit, |row| row.id);
    let items = rows.into_iter().map(|row| Session::of(row, user.session())).collect();
    Ok(Json(Page { items, next }))
}

/// Sessions that are neither revoked nor expired, ordered by id.
pub async fn page(
    state: &AppState,
    user: UserId,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<SessionRow>, ApiError> {
    Ok(on_db!(&state.store.database, e => sqlx::query_as(
        "SELECT id, created_at, used_at, user_agent FROM session
         WHERE user_id = $1 AND revoked_at IS NULL AND COALESCE(used_at, created_at) > $2 AND id > $3
         ORDER BY id LIMIT $4"
    )
    .bind(user.as_uuid())
    .bind(Utc::now() - REFRESH_WITHIN)
    .bind(after.unwrap_or(Uuid::nil()))
    .bind(limit)
    .fetch_all(e))?)
}

refusals!(EndSessionRefusals: NoSuchSession);

/// End one of my sessions
#[utoipa::path(delete, path = "/user/session/{id}", operation_id = "end_session", tag = "accounts",
    params(("id" = SessionId, Path)), security(("access" = [])),
    responses((status = 204), EndSessionRefusals))]
pub async fn end(
    State(state): State<AppState>,
    user: AuthUser,
    Trace(trace): Trace,
    SessionPath(id): SessionPath,
) -> Result<StatusCode, ApiError> {
    let mut tx = state.begin(trace).await?;
    let mine: Option<i32> = on_tx!(&mut tx, e => sqlx::query_scalar(
        "SELECT 1 FROM session WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL"
    ).bind(id.as_uuid()).bind(user.id().as_uuid()).fetch_optional(e))?;
    mine.ok_or(ApiError::NoSuchSession)?;
    sessions::revoke(&mut tx, id).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// In PostgreSQL, `FOR SHARE` locks the account's row: a concurrent change of the password waits for this transaction
/// and then also revokes the new session. SQLite has a single writer and no such clause.
const START_IN_POSTGRES: &str = "
    INSERT INTO session (id, user_id, created_at, user_agent)
    SELECT $1, id, $3, $4 FROM (
      SELECT id FROM account WHERE id = $2 AND password_hash = $5 AND disabled_at IS NULL FOR SHARE
    ) AS proven
    RETURNING (
      SELECT COUNT(*) FROM session WHERE user_id = $2 AND revoked_at IS NULL AND id <> $1
    )";
const START_IN_SQLITE: &str = "
    INSERT INTO session (id, user_id, created_at, user_agent)
    SELECT $1, id, $3, $4 FROM account WHERE id = $2 AND password_hash = $5 AND disabled_at IS NULL
    RETURNING (
      SELECT COUNT(*) FROM session WHERE user_id = $2 AND revoked_at IS NULL AND id <> $1
    )";

/// Starts a session of a user, if the account still has the password hash that was verified and is not disabled.
pub async fn start(
    tx: &mut Transaction,
    user: UserId,
    password_hash: &str,
    user_agent: Option<String>,
) -> Result<SessionId, ApiError> {
    let session = SessionId::generate();
    let statement = match &**tx {
        Tx::Postgres(_) => START_IN_POSTGRES,
        Tx::Sqlite(_) => START_IN_SQLITE,
    };
    let others: Option<i64> = on_tx!(tx, e => sqlx::query_scalar(statement)
        .bind(session.as_uuid())
        .bind(user.as_uuid())
        .bind(Utc::now())
        .bind(user_agent)
        .bind(password_hash)
        .fetch_optional(e))?;
    let others = others.ok_or(ApiError::BadCredentials)?;
    if others >= SESSIONS_PER_USER {
        revoke_oldest(tx, user).await?;
    }
    Ok(session)
}

/// Revokes the sessions over the limit. Ids are UUIDv7, so their order is the order of the logins.
async fn revoke_oldest(tx: &mut Transaction, user: UserId) -> Result<(), ApiError> {
    let revoked: Vec<Uuid> = on_tx!(tx, e => sqlx::query_scalar(
        "UPDATE session SET revoked_at = $2 WHERE id IN (
           SELECT id FROM session WHERE user_id = $1 AND revoked_at IS NULL
           ORDER BY id DESC LIMIT $3 OFFSET $4
         ) RETURNING id"
    )
    .bind(user.as_uuid())
    .bind(Utc::now())
    .bind(REVOKED_PER_LOGIN)
    .bind(SESSIONS_PER_USER)
    .fetch_all(e))?;
    Ok(sessions::revoke_at_gateways(tx, revoked).await?)
}
