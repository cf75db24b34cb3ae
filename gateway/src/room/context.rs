//! Handles that the rooms on one worker's thread share.

use crate::{
    bus::Bus, command::Workers, ephemeral::GatewayId, memory::Budget, peers::Peers,
    subscriptions::Subscriptions,
};

/// See the module.
pub struct Context {
    pub bus: Bus,
    pub subscriptions: Subscriptions,
    pub workers: Workers,
    pub peers: Peers,
    pub budget: Budget,
    pub gateway: GatewayId,
}
