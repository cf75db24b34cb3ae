//! The other gateways: who is alive. A gateway unheard of for a while takes its users with it.

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

/// Three signs of life may be lost before a gateway counts as dead.
const SAY_EVERY: Duration = Duration::from_secs(5);
const DEAD_AFTER: Duration = Duration::from_secs(15);

#[derive(Serialize, Deserialize)]
struct Alive {
    gateway: GatewayId,
    /// It stops now.
    leaving: bool,
}

/// The gateways heard of lately, this one not among them.
#[derive(Clone, Default)]
pub struct Peers(Arc<Mutex<HashMap<GatewayId, Instant>>>);

impl Peers {
    /// No other gateway is known.
    pub fn is_alone(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<GatewayId, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a sign of life. True when the gateway was not known.
    fn hear(&self, gateway: GatewayId) -> bool {
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

    /// Says that this gateway is alive, and listens to the others; `lost` is told of the dead.
    pub async fn run(
        self,
        bus: Bus,
        own: GatewayId,
        lost: impl Fn(GatewayId),
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let mut alive = bus.gateways_alive().await?;
        let mut tick = tokio::time::interval(SAY_EVERY);
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
                        // A new gateway knows us at once, not only at the next tick.
                        false if self.hear(gateway) => announce(&bus, own, false).await,
                        false => {}
                    }
                }
            }
        }
        Ok(())
    }
}

/// Says that a gateway is alive, or that it leaves.
pub async fn announce(bus: &Bus, gateway: GatewayId, leaving: bool) {
    if let Ok(payload) = serde_json::to_vec(&Alive { gateway, leaving }) {
        bus.publish_live(GATEWAY_ALIVE.to_owned(), payload.into()).await;
    }
}
