//! Supervision of the tasks that a gateway cannot work without. tokio catches a task's panic, so without
//! supervision the process would stay up and ready while some of its sockets hang.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt as _;
use tokio::sync::watch;

/// The first failure of a supervised task, if there was one. Clones share it.
#[derive(Clone)]
pub struct Health(Arc<watch::Sender<Option<String>>>);

impl Default for Health {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Health {
    /// Runs a task until it ends, and records a panic or an error as a failure of the gateway.
    pub async fn supervise(self, name: String, task: impl Future<Output = anyhow::Result<()>>) {
        let failure = match AssertUnwindSafe(task).catch_unwind().await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => format!("{name} failed: {error:#}"),
            // The panic message was already printed to standard error.
            Err(_) => format!("{name} panicked"),
        };
        tracing::error!(failure, "a supervised task failed; the gateway stops");
        metrics::counter!("chat_gateway_failures_total").increment(1);
        // Later failures are usually consequences of the first.
        self.0.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert(failure);
            is_first
        });
    }

    /// Whether no supervised task has failed.
    pub fn is_good(&self) -> bool {
        self.0.borrow().is_none()
    }

    /// Waits for the first failure.
    pub async fn failed(&self) -> anyhow::Error {
        let mut failure = self.0.subscribe();
        match failure.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(failure)) => anyhow::anyhow!(failure.clone()),
            // The sender lives as long as `self`.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn failure(health: &Health) -> Option<String> {
        health.failed().now_or_never().map(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_task_that_ends_without_error_is_no_failure() {
        let health = Health::default();
        health.clone().supervise("a task".into(), async { Ok(()) }).await;
        assert!(health.is_good());
        assert_eq!(failure(&health), None);
    }

    #[tokio::test]
    async fn a_panic_or_error_is_a_failure_and_the_first_is_kept() {
        let (panics, fails) = (Health::default(), Health::default());
        panics.clone().supervise("a task".into(), async { panic!("a fault of ours") }).await;
        fails.clone().supervise("a task".into(), async { anyhow::bail!("no connection") }).await;
        assert!(!panics.is_good() && !fails.is_good());
        assert_eq!(failure(&panics).as_deref(), Some("a task panicked"));
        panics.clone().supervise("another".into(), async { panic!("a second one") }).await;
        assert_eq!(failure(&panics).as_deref(), Some("a task panicked"));
        assert_eq!(failure(&fails).as_deref(), Some("a task failed: no connection"));
    }
}
