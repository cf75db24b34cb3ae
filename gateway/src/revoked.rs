//! What is no longer valid although its token has not expired: watched from the key-value bucket.

use std::{
    collections::HashMap,
    sync::{Arc, RwLock, RwLockReadGuard},
    time::{Duration, Instant},
};

use protocol::{limits, subject::Revoked};

/// Longer than any token that a revocation is for can live.
const KEEP: Duration = Duration::from_secs(limits::ACCESS_TOKEN_SECONDS as u64 + 60);
/// Old entries are looked for once per this many new ones, so that a look costs nothing on average.
const SWEEP_EVERY: usize = 1024;

/// The revocations of the last minutes, shared by all threads.
#[derive(Debug, Clone, Default)]
pub struct RevokedSet(Arc<RwLock<HashMap<Revoked, Instant>>>);

impl RevokedSet {
    /// Adds one.
    pub fn insert(&self, revoked: Revoked) {
        let now = Instant::now();
        let mut set = self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        set.insert(revoked, now);
        if set.len().is_multiple_of(SWEEP_EVERY) {
            set.retain(|_, at| now.duration_since(*at) < KEEP);
        }
    }

    /// Takes one back, as when the bucket's key is deleted.
    pub fn remove(&self, revoked: Revoked) {
        self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&revoked);
    }

    /// Any of these.
    pub fn contains_any(&self, revoked: &[Revoked]) -> bool {
        let set: RwLockReadGuard<'_, _> =
            self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        !set.is_empty() && revoked.iter().any(|revoked| set.contains_key(revoked))
    }
}
