//! The checks behind `/readyz`.

use serde_json::{Value, json};
use service::metric;

use crate::{
    bus::Bus, health::Health, keys::Keys, revoked::RevokedSet, subscriptions::Subscriptions,
};

/// The dependencies that must work for a gateway to be ready.
pub struct Readiness {
    pub bus: Bus,
    /// One connection per worker.
    pub subscriptions: Vec<Subscriptions>,
    pub keys: Keys,
    pub revoked: RevokedSet,
    pub health: Health,
}

impl Readiness {
    /// Whether a load balancer may send new sockets to this gateway, and the result of each check. Also sets the
    /// metrics of the readiness.
    pub async fn check(&self, is_draining: bool) -> (bool, Value) {
        let subscribed = self.subscriptions.iter().all(Subscriptions::is_connected);
        let nats = self.bus.is_ready().await && subscribed;
        let keys = self.keys.ready();
        let revocations = self.revoked.is_complete();
        let workers = self.health.is_good();
        let serving = !is_draining;
        let checks = [
            ("nats", nats),
            ("keys", keys),
            ("revocations", revocations),
            ("serving", serving),
            ("workers", workers),
        ];
        let is_ready = checks.iter().all(|(_, works)| *works);
        metric::set_ready("gateway", is_ready, &checks);
        (is_ready, checks.into_iter().map(|(part, works)| (part, json!(works))).collect())
    }
}
