//! Sessions, one for each login: `GET /user/session`, `DELETE /user/session/{id}`.

use axum::{Json, extract::State as Shared, http::StatusCode};
use chrono::{DateTime, Utc};
use protocol::{SessionId, Timestamp, UserId, subject::Revoked};
use serde::Serialize;
use service::trace::TraceParent;
use store::{
    accounts::REFRESH_WITHIN,
    db::{Tx, on_db, on_tx},
    outbox::{self, Owed},
};
use uuid::Uuid;

use crate::{
    docs::refusals::refusals,
    error::ApiError,
    extract::{AuthUser, OfSession, Params, Trace},
    paging::{self, Page, Paging},
    state::State,
};

/// Sessions that one user has at once; a further login ends the oldest.
const PER_USER: i64 = 100;
/// Of those too many, how many end with one login: usually one.
const ENDED_AT_ONCE: i64 = 100;

/// A login that has not ended.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    id: SessionId,
    created_at: Timestamp,
    /// When it last took new tokens, or began.
    used_at: Timestamp,
    /// What the program said it is.
    user_agent: Option<String>,
    /// The one that asks.
    current: bool,
}

/// A session as the database holds it.
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
    responses((status = 200, body = Page<Session>)))]
pub async fn sessions(
    Shared(state): Shared<State>,
    user: AuthUser,
    Params(Paging { cursor, limit }): Params<Paging>,
) -> Result<Json<Page<Session>>, ApiError> {
    let limit = limit.unwrap_or_default();
    let after: Option<Uuid> = cursor.as_deref().map(paging::decode).transpose()?;
    let rows = page(&state, user.id(), after, limit.and_one()).await?;
    let (rows, next) = paging::cut(rows, limit, |row| row.id);
    let items = rows.into_iter().map(|row| Session::of(row, user.session())).collect();
    Ok(Json(Page { items, next }))
}

/// Live sessions in the order of their ids.
pub async fn page(
    state: &State,
    user: UserId,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<SessionRow>, ApiError> {
    Ok(on_db!(&state.database, e => sqlx::query_as(
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

refusals!(NotEnded: NoSuchSession);

/// End one of my sessions
#[utoipa::path(delete, path = "/user/session/{id}", operation_id = "end_session", tag = "accounts",
    params(("id" = SessionId, Path)), security(("access" = [])),
    responses((status = 204), NotEnded))]
pub async fn end(
    Shared(state): Shared<State>,
    user: AuthUser,
    Trace(trace): Trace,
    OfSession(id): OfSession,
) -> Result<StatusCode, ApiError> {
    let mut tx = state.database.begin().await?;
    let mine: Option<i32> = on_tx!(&mut tx, e => sqlx::query_scalar(
        "SELECT 1 FROM session WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL"
    ).bind(id.as_uuid()).bind(user.id().as_uuid()).fetch_optional(e))?;
    mine.ok_or(ApiError::NoSuchSession)?;
    let owed = revoke(&mut tx, id, trace).await?;
    tx.commit().await?;
    outbox::publish(&state.database, &state.log, &owed).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Inserts a session if the account still has the password that was looked at. In PostgreSQL this locks the
/// account: whoever changes the password waits, and then finds the session. SQLite has one writer.
macro_rules! begin {
    ($lock:literal) => {
        concat!(
            "INSERT INTO session (id, user_id, created_at, user_agent)
             SELECT $1, id, $3, $4 FROM (
               SELECT id FROM account WHERE id = $2 AND password_hash = $5 ",
            $lock,
            ") AS proven
             RETURNING (
               SELECT COUNT(*) FROM session WHERE user_id = $2 AND revoked_at IS NULL AND id <> $1
             )"
        )
    };
}

/// Begins a session of a user whose password has this hash.
pub async fn start(
    tx: &mut Tx,
    user: UserId,
    password_hash: &str,
    user_agent: Option<String>,
    trace: TraceParent,
) -> Result<(SessionId, Vec<Owed>), ApiError> {
    let session = SessionId::generate();
    let begin = match tx {
        Tx::Postgres(_) => begin!("FOR SHARE"),
        Tx::Sqlite(_) => begin!(""),
    };
    let others: Option<i64> = on_tx!(tx, e => sqlx::query_scalar(begin)
        .bind(session.as_uuid())
        .bind(user.as_uuid())
        .bind(Utc::now())
        .bind(user_agent)
        .bind(password_hash)
        .fetch_optional(e))?;
    let others = others.ok_or(ApiError::BadCredentials)?;
    let owed = if others < PER_USER { Vec::new() } else { end_oldest(tx, user, trace).await? };
    Ok((session, owed))
}

async fn end_oldest(tx: &mut Tx, user: UserId, trace: TraceParent) -> Result<Vec<Owed>, ApiError> {
    let too_many: Vec<Uuid> = on_tx!(tx, e => sqlx::query_scalar(
        "UPDATE session SET revoked_at = $2 WHERE id IN (
           SELECT id FROM session WHERE user_id = $1 AND revoked_at IS NULL
           ORDER BY id DESC LIMIT $3 OFFSET $4
         ) RETURNING id"
    )
    .bind(user.as_uuid())
    .bind(Utc::now())
    .bind(ENDED_AT_ONCE)
    .bind(PER_USER)
    .fetch_all(e))?;
    owe(tx, too_many, trace).await
}

/// Ends a session that has not ended: no refresh, no request, and, once what is owed is published, no socket.
pub async fn revoke(
    tx: &mut Tx,
    session: SessionId,
    trace: TraceParent,
) -> Result<Vec<Owed>, ApiError> {
    let ended: Vec<Uuid> = on_tx!(tx, e => sqlx::query_scalar(
        "UPDATE session SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL RETURNING id"
    ).bind(session.as_uuid()).bind(Utc::now()).fetch_all(e))?;
    owe(tx, ended, trace).await
}

/// Ends all sessions of a user but one.
pub async fn revoke_others(
    tx: &mut Tx,
    user: UserId,
    but: SessionId,
    trace: TraceParent,
) -> Result<Vec<Owed>, ApiError> {
    let ended: Vec<Uuid> = on_tx!(tx, e => sqlx::query_scalar(
        "UPDATE session SET revoked_at = $3
         WHERE user_id = $1 AND id <> $2 AND revoked_at IS NULL RETURNING id"
    ).bind(user.as_uuid()).bind(but.as_uuid()).bind(Utc::now()).fetch_all(e))?;
    owe(tx, ended, trace).await
}

async fn owe(tx: &mut Tx, sessions: Vec<Uuid>, trace: TraceParent) -> Result<Vec<Owed>, ApiError> {
    let mut owed = Vec::with_capacity(sessions.len());
    for session in sessions {
        let one = Owed::revocation(Revoked::Session(session.into()), trace);
        one.record(tx).await?;
        owed.push(one);
    }
    Ok(owed)
}
