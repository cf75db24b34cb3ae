//! The other gateways. When one has sent no heartbeat for a while, rooms drop the presence of its users.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures_util::StreamExt as _;
use protocol::subject::GATEWAY_ALIVE;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::{bus::Bus, ephemeral::GatewayId};

/// A third of [`DEAD_AFTER`]: two heartbeats may be lost before a gateway counts as dead.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(5);
const DEAD_AFTER: Duration = Duration::from_secs(15);

/// A heartbeat.
#[derive(Serialize, Deserialize)]
struct Alive {
    gateway: GatewayId,
    /// True in the last heartbeat of a gateway that stops.
    leaving: bool,
}

/// The other gateways, with the time of each one's last heartbeat. Clones share them.
#[derive(Clone, Default)]
pub struct Peers(Arc<Mutex<HashMap<GatewayId, Instant>>>);

impl Peers {
    /// Whether no other gateway is known.
    pub fn is_alone(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<GatewayId, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a heartbeat. True if the gateway was unknown.
    fn note(&self, gateway: GatewayId) -> bool {
        self.lock().insert(gateway, Instant::now()).is_none()
    }

    fn forget(&self, gateway: GatewayId) -> bool {
        self.lock().remove(&gateway).is_some()
    }

    fn take_dead(&self) -> Vec<GatewayId> {
        let mut peers = self.lock();
        let dead = peers.extract_if(|_, heard| heard.elapsed() > DEAD_AFTER);
        dead.map(|(gateway, _)| gateway).collect()
    }

    /// Sends heartbeats and receives those of others. `lost` is called for each gateway that has stopped or
    /// failed.
    pub async fn run(
        self,
        bus: Bus,
        own: GatewayId,
        lost: impl Fn(GatewayId),
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let mut alive = bus.gateways_alive().await?;
        let mut tick = tokio::time::interval(HEARTBEAT_EVERY);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                _ = tick.tick() => {
                    announce(&bus, own, false).await;
                    self.take_dead().into_iter().for_each(&lost);
                }
                Some(payload) = alive.next() => {
                    let Ok(Alive { gateway, leaving }) = serde_json::from_slice(&payload) else {
                        continue;
                    };
                    match leaving {
                        _ if gateway == own => {}
                        true if self.forget(gateway) => lost(gateway),
                        true => {}
                        // Answers a new gateway at once, so that it need not wait for the next heartbeat.
                        false if self.note(gateway) => announce(&bus, own, false).await,
                        false => {}
                    }
                }
            }
        }
        Ok(())
    }
}

/// Sends a heartbeat.
pub async fn announce(bus: &Bus, gateway: GatewayId, leaving: bool) {
    if let Ok(payload) = serde_json::to_vec(&Alive { gateway, leaving }) {
        bus.publish_live(GATEWAY_ALIVE.to_owned(), payload.into()).await;
    }
}
