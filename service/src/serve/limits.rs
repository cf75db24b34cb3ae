//! Limits of a server's connections.

use tokio::sync::Semaphore;

use crate::{client, env::Env};

/// How many connections and requests a server accepts.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// `LIMIT_CONNECTIONS`: open connections. Further ones wait in the kernel's backlog.
    pub connections: usize,
    /// `LIMIT_CONNECTIONS_PER_ADDRESS`: open connections of one client address (one /64 of IPv6). Behind a proxy,
    /// whose connections carry the requests of all clients: concurrent requests of one client address.
    pub per_address: usize,
    /// `TRUSTED_PROXY_HOPS`: the number of our own proxies in front.
    pub trusted_hops: usize,
}

impl Default for Limits {
    fn default() -> Self {
        // A whole office can share one address, and each browser opens up to six connections.
        Self { connections: 10_000, per_address: 2_000, trusted_hops: 0 }
    }
}

impl Limits {
    /// Reads the variables. 0 switches a limit off.
    pub fn from_env(env: &mut Env<'_>) -> Self {
        let default = Self::default();
        Self {
            connections: env
                .limit("LIMIT_CONNECTIONS", default.connections)
                .min(Semaphore::MAX_PERMITS),
            per_address: env.limit("LIMIT_CONNECTIONS_PER_ADDRESS", default.per_address),
            trusted_hops: client::trusted_hops_from_env(env),
        }
    }
}
