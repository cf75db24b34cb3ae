//! Liveness, readiness and the public keys of access tokens.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::Serialize;
use serde_json::Value;
use service::nats;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{error::ApiError, state::AppState};

/// Time limit for a dependency to answer. After it, the dependency counts as not ready.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// `/healthz`, `/readyz`, `/.well-known/jwks.json`.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(alive)).routes(routes!(ready)).routes(routes!(jwks))
}

/// The answer of a running process.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Alive {
    status: &'static str,
}

/// Which dependencies answer.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Ready {
    database: bool,
    nats: bool,
    storage: bool,
}

/// Check that the process is alive
#[utoipa::path(get, path = "/healthz", tag = "operation", responses((status = 200, body = Alive)))]
async fn alive() -> Json<Alive> {
    Json(Alive { status: "ok" })
}

/// Check that database, NATS and storage answer
#[utoipa::path(get, path = "/readyz", tag = "operation",
    responses((status = 200, body = Ready), (status = 503, body = Ready)))]
async fn ready(State(state): State<AppState>) -> Response {
    let is_ok = |answered: Result<bool, _>| answered.unwrap_or(false);
    let database = async { state.store.database.ping().await.is_ok() };
    let nats = nats::is_ready(&state.nats, state.store.log.high_water());
    let (database, nats, storage) = tokio::join!(
        tokio::time::timeout(ANSWER_WITHIN, database),
        tokio::time::timeout(ANSWER_WITHIN, nats),
        state.storage.ready(),
    );
    let ready = Ready { database: is_ok(database), nats: is_ok(nats), storage };
    let all = ready.database && ready.nats && ready.storage;
    if all {
        return Json(ready).into_response();
    }
    let retry = [(header::RETRY_AFTER, HeaderValue::from_static("1"))];
    (StatusCode::SERVICE_UNAVAILABLE, retry, Json(ready)).into_response()
}

/// Get the keys that verify tokens (RFC 7517)
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "operation", responses((status = 200, body = Value)))]
async fn jwks(State(state): State<AppState>) -> Result<Json<Value>, ApiError> {
    let keys = serde_json::to_value(state.minter.jwks());
    keys.map(Json).map_err(|error| ApiError::Internal(error.into()))
}
