//! The shared state of the HTTP handlers.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use service::admission::Admission;
use tokio_util::sync::CancellationToken;

use super::readiness::Readiness;
use crate::{command::Workers, config::Limits, memory::Budget};

/// State of the handlers. Clones share it.
#[derive(Clone)]
pub struct HttpState(Arc<Shared>);

/// See [`HttpState`].
pub struct Shared {
    pub workers: Workers,
    pub admission: Admission,
    pub budget: Budget,
    pub limits: Limits,
    pub origins: Vec<String>,
    pub trusted_hops: usize,
    /// Cancelled once the gateway accepts no new sockets.
    pub draining: CancellationToken,
    pub conformance_echo: bool,
    pub readiness: Readiness,
    /// The number of accepted sockets; it spreads them evenly over the workers.
    pub accepted: AtomicUsize,
}

impl HttpState {
    /// Shares the state.
    pub fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }

    /// The worker of the next socket.
    pub fn next_worker(&self) -> usize {
        self.accepted.fetch_add(1, Ordering::Relaxed) % self.workers.count()
    }
}

impl std::ops::Deref for HttpState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}
