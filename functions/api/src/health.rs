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
pub struct Liveness {
    status: &'static str,
}

/// Which dependencies answer.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Readiness {
    database: bool,
    nats: bool,
    storage: bool,
}

/// Check that the process is alive
#[utoipa::path(get, path = "/healthz", operation_id = "check_liveness", tag = "operation",
    responses((status = 200, body = Liveness)))]
async fn alive() -> Json<Liveness> {
    Json(Liveness { status: "ok" })
}

/// Check that database, NATS and storage answer
#[utoipa::path(get, path = "/readyz", operation_id = "check_readiness", tag = "operation",
    responses((status = 200, body = Readiness), (status = 503, body = Readiness)))]
async fn ready(State(state): State<AppState>) -> Response {
    let is_ok = |answered: Result<bool, _>| answered.unwrap_or(false);
    let database = async { state.store.database.ping().await.is_ok() };
    let nats = nats::is_ready(&state.nats, state.store.log.high_water());
    let (database, nats, storage) = tokio::join!(
        tokio::time::timeout(ANSWER_WITHIN, database),
        tokio::time::timeout(ANSWER_WITHIN, nats),
        state.storage.ready(),
    );
    let ready = Readiness { database: is_ok(database), nats: is_ok(nats), storage };
    let all = ready.database && ready.nats && ready.storage;
    if all {
        return Json(ready).into_response();
    }
    let retry = [(header::RETRY_AFTER, HeaderValue::from_static("1"))];
    (StatusCode::SERVICE_UNAVAILABLE, retry, Json(ready)).into_response()
}

/// Get the keys that verify tokens (RFC 7517)
#[utoipa::path(get, path = "/.well-known/jwks.json", operation_id = "get_public_keys", tag = "operation",
    responses((status = 200, body = Value)))]
async fn jwks(State(state): State<AppState>) -> Result<Json<Value>, ApiError> {
    let keys = serde_json::to_value(state.minter.jwks());
    keys.map(Json).map_err(|error| ApiError::Internal(error.into()))
}
