//! Alive, ready, and the public keys.

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

/// A part that does not answer in this time is not ready.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// `/healthz`, `/readyz`, `/.well-known/jwks.json`.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(alive)).routes(routes!(ready)).routes(routes!(jwks))
}

/// What a process without a fault answers.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Alive {
    status: &'static str,
}

/// Which parts answer.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Ready {
    database: bool,
    nats: bool,
    storage: bool,
}

/// Is the process alive
#[utoipa::path(get, path = "/healthz", tag = "operation", responses((status = 200, body = Alive)))]
async fn alive() -> Json<Alive> {
    Json(Alive { status: "ok" })
}

/// Do database, NATS and storage answer
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
    let soon = [(header::RETRY_AFTER, HeaderValue::from_static("1"))];
    (StatusCode::SERVICE_UNAVAILABLE, soon, Json(ready)).into_response()
}

/// The keys that tokens are verified with (RFC 7517)
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "operation", responses((status = 200, body = Value)))]
async fn jwks(State(state): State<AppState>) -> Result<Json<Value>, ApiError> {
    let keys = serde_json::to_value(state.minter.jwks());
    keys.map(Json).map_err(|error| ApiError::Internal(error.into()))
}
