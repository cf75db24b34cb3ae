//! `/readyz`.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use serde_json::json;

use super::state::HttpState;
use crate::{
    bus::Bus, health::Health, keys::Keys, revoked::RevokedSet, subscriptions::Subscriptions,
};

/// Whether a load balancer may send new sockets to this gateway.
pub async fn handle(State(state): State<HttpState>) -> impl IntoResponse {
    let Readiness { bus, subscriptions, keys, revoked, health } = &state.readiness;
    let subscribed = subscriptions.iter().all(Subscriptions::is_connected);
    let nats = bus.is_ready().await && subscribed;
    let keys = keys.ready();
    let revocations = revoked.is_complete();
    let serving = !state.draining.is_cancelled();
    let workers = health.is_good();
    let is_ready = nats && keys && revocations && serving && workers;
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let checks = json!({
        "nats": nats, "keys": keys, "revocations": revocations, "serving": serving,
        "workers": workers
    });
    let retry_after = [(header::RETRY_AFTER, "1")];
    (status, (!is_ready).then_some(retry_after), Json(checks))
}

/// What must work for a gateway to be ready.
pub struct Readiness {
    pub bus: Bus,
    /// One connection per worker.
    pub subscriptions: Vec<Subscriptions>,
    pub keys: Keys,
    pub revoked: RevokedSet,
    pub health: Health,
}
