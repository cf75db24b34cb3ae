//! Routes, and the CORS rules for long-polling.

use axum::{
    Json, Router,
    extract::State,
    http::{Method, StatusCode, header},
    response::IntoResponse,
    routing::{any, get},
};
use serde_json::json;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use super::{handshake, origin, state::HttpState};

/// `/socket.io/`, `/healthz` and `/readyz`.
pub fn router(state: HttpState) -> Router {
    Router::new()
        .route("/healthz", get(|| async { Json(json!({ "status": "ok" })) }))
        .route("/readyz", get(ready))
        .with_state(state.clone())
        .merge(socket_router(state))
}

/// `/socket.io/` alone, for a server with its own health checks. Needs
/// [`axum::extract::ConnectInfo`].
pub fn socket_router(state: HttpState) -> Router {
    let mut router = Router::new().route("/socket.io/", any(handshake::handle));
    if state.conformance_echo {
        tracing::warn!("CONFORMANCE_ECHO is set: sockets only echo messages");
        router = router.route("/engine.io/", any(handshake::handle));
    }
    router.layer(cors(&state.origins)).with_state(state)
}

async fn ready(State(state): State<HttpState>) -> impl IntoResponse {
    let (is_ready, checks) = state.readiness.check(state.draining.is_cancelled()).await;
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let retry_after = [(header::RETRY_AFTER, "1")];
    (status, (!is_ready).then_some(retry_after), Json(checks))
}

/// Long-polling from a page of another origin is a cross-origin request. Credentials are allowed for the
/// load balancer's affinity cookie; the gateway reads no cookie. All headers are allowed, because clients may add
/// any (`extraHeaders`), and an allowed origin may do no harm with a header.
fn cors(origins: &[String]) -> CorsLayer {
    let origins = origins.to_vec();
    let allowed = AllowOrigin::predicate(move |origin, _| origin::is_listed(origin, &origins));
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(AllowHeaders::mirror_request())
        .allow_credentials(true)
        .max_age(service::cors::MAX_AGE)
}
