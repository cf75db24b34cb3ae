//! The pause between two invocations of a Lambda function, in which the process may be frozen.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use crate::Store;

/// After a longer pause, connections may have been dropped by the network without notice.
const TRUSTED_FOR: Duration = Duration::from_secs(5);
/// How long the end of an invocation waits for connections to be returned to the pool, which takes a round trip. A ping
/// that is under way during a freeze would occupy the connection for ever.
const SETTLE_WITHIN: Duration = Duration::from_millis(200);

/// When the last invocation ended. By the clock rather than [`std::time::Instant`], which may stand still while the
/// process is frozen.
pub struct Pause(Mutex<SystemTime>);

impl Default for Pause {
    fn default() -> Self {
        Self(Mutex::new(SystemTime::now()))
    }
}

impl Pause {
    /// Called when an invocation begins. After a long pause, replaces connections that are broken.
    pub async fn end(&self, store: &Store) {
        let began = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back counts as a long pause.
        let lasted = SystemTime::now().duration_since(began).unwrap_or(Duration::MAX);
        if lasted > TRUSTED_FOR {
            store.replace_broken_connections().await;
        }
    }

    /// Called when an invocation ends.
    pub async fn begin(&self, store: &Store) {
        let _ = tokio::time::timeout(SETTLE_WITHIN, store.database.settled()).await;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = SystemTime::now();
    }
}
