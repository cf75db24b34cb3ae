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
use service::{metric, nats};
use store::db::{SchemaError, check_schema};
use tokio_util::sync::CancellationToken;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{error::ApiError, state::AppState};

/// Time limit for a dependency to answer. After it, the dependency counts as not ready.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Interval of the checks for the metrics. Load balancers check more often.
const WATCH_EVERY: Duration = Duration::from_secs(5);

/// `/healthz` and `/readyz`.
pub fn checks() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(alive)).routes(routes!(ready))
}

/// `/.well-known/jwks.json`.
pub fn public_keys() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(jwks))
}

/// The answer of a running process.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Liveness {
    status: &'static str,
}

/// Whether the process should get requests, and which dependencies answer.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Readiness {
    status: ReadinessStatus,
    database: bool,
    nats: bool,
    storage: bool,
    /// Reasons for a status other than `ready`, for people.
    reasons: Vec<String>,
}

/// Whether the process should get requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
enum ReadinessStatus {
    Ready,
    /// The storage does not answer. Only requests for files are refused.
    Degraded,
    /// The database or NATS does not answer.
    Unavailable,
    /// The process is about to stop. It still answers, but should get no new requests.
    Draining,
}

impl Readiness {
    fn new(is_draining: bool, database: Result<(), String>, nats: bool, storage: bool) -> Self {
        let status = match (is_draining, database.is_ok() && nats, storage) {
            (true, ..) => ReadinessStatus::Draining,
            (false, false, _) => ReadinessStatus::Unavailable,
            (false, true, false) => ReadinessStatus::Degraded,
            (false, true, true) => ReadinessStatus::Ready,
        };
        let mut reasons = Vec::new();
        if is_draining {
            reasons.push("the process is about to stop".to_owned());
        }
        let is_database_ready = database.is_ok();
        reasons.extend(database.err());
        if !nats {
            reasons.push("NATS does not answer, or a stream is behind the database".to_owned());
        }
        if !storage {
            reasons.push("the storage does not answer; requests for files are refused".to_owned());
        }
        Self { status, database: is_database_ready, nats, storage, reasons }
    }

    /// Whether a load balancer should send requests here. An outage of the storage concerns all instances alike, and
    /// all but the requests for files can still be answered.
    fn accepts_requests(&self) -> bool {
        matches!(self.status, ReadinessStatus::Ready | ReadinessStatus::Degraded)
    }
}

/// Check that the process is alive
#[utoipa::path(get, path = "/healthz", operation_id = "check_liveness", tag = "operation",
    responses((status = 200, body = Liveness)))]
async fn alive() -> Json<Liveness> {
    Json(Liveness { status: "ok" })
}

/// Check that the process accepts requests: that database and NATS answer and it is not about to stop
#[utoipa::path(get, path = "/readyz", operation_id = "check_readiness", tag = "operation",
    responses((status = 200, body = Readiness), (status = 503, body = Readiness)))]
async fn ready(State(state): State<AppState>) -> Response {
    let ready = check(&state).await;
    if ready.accepts_requests() {
        return Json(ready).into_response();
    }
    let retry = [(header::RETRY_AFTER, HeaderValue::from_static("1"))];
    (StatusCode::SERVICE_UNAVAILABLE, retry, Json(ready)).into_response()
}

/// Checks all dependencies, and sets the metrics of the readiness.
async fn check(state: &AppState) -> Readiness {
    let schema = check_schema(&state.store.database);
    let nats = nats::is_ready(&state.nats, state.store.log.high_water());
    let (schema, nats, storage) = tokio::join!(
        tokio::time::timeout(ANSWER_WITHIN, schema),
        tokio::time::timeout(ANSWER_WITHIN, nats),
        async {
            match state.storage() {
                Ok(storage) => storage.ready().await,
                Err(_) => false,
            }
        },
    );
    let database = match schema {
        Ok(Ok(())) => Ok(()),
        Ok(Err(SchemaError::Database(_))) | Err(_) => {
            Err("the database does not answer".to_owned())
        }
        Ok(Err(error)) => Err(error.to_string()),
    };
    let ready = Readiness::new(state.is_draining(), database, nats.unwrap_or(false), storage);
    let checks = [("database", ready.database), ("nats", ready.nats), ("storage", ready.storage)];
    metric::set_ready("functions", ready.accepts_requests(), &checks);
    ready
}

/// Keeps the metrics of the readiness current until `shutdown`.
pub async fn watch_readiness(state: AppState, shutdown: CancellationToken) {
    while shutdown.run_until_cancelled(tokio::time::sleep(WATCH_EVERY)).await.is_some() {
        check(&state).await;
        state.store.database.report_pool();
    }
}

/// Get the keys that verify tokens (RFC 7517)
#[utoipa::path(get, path = "/.well-known/jwks.json", operation_id = "get_public_keys", tag = "operation",
    responses((status = 200, body = Value)))]
async fn jwks(State(state): State<AppState>) -> Result<Json<Value>, ApiError> {
    let keys = serde_json::to_value(&state.keys.public);
    keys.map(Json).map_err(|error| ApiError::Internal(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_storage_may_be_away() {
        use ReadinessStatus::{Degraded, Draining, Ready, Unavailable};
        for ((is_draining, database, nats, storage), status, reasons) in [
            ((false, true, true, true), Ready, 0),
            ((false, true, true, false), Degraded, 1),
            ((false, false, true, true), Unavailable, 1),
            ((false, true, false, false), Unavailable, 2),
            ((true, true, true, true), Draining, 1),
            ((true, false, false, false), Draining, 4),
        ] {
            let database = if database { Ok(()) } else { Err("away".to_owned()) };
            let readiness = Readiness::new(is_draining, database, nats, storage);
            assert_eq!((readiness.status, readiness.reasons.len()), (status, reasons));
            assert_eq!(readiness.accepts_requests(), matches!(status, Ready | Degraded));
        }
    }
}
