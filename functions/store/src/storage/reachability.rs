//! Whether the storage answers. A presigned URL is made without asking it, so it would be handed out during an outage
//! as well, and the browser would wait for a server that is away.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Mutex;

/// How long an answer counts. An outage of the storage is noticed after this time.
const REACHABLE_FOR: Duration = Duration::from_secs(5);
/// How long a failure counts.
const UNREACHABLE_FOR: Duration = Duration::from_secs(1);

/// The last answer. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Reachability(Arc<Mutex<Option<Seen>>>);

struct Seen {
    at: Instant,
    is_reachable: bool,
}

impl Reachability {
    /// The last answer or, if it is too old, a new one. Concurrent callers share one check.
    pub(super) async fn get_or_check(&self, check: impl Future<Output = bool>) -> bool {
        let mut seen = self.0.lock().await;
        if let Some(Seen { at, is_reachable }) = *seen {
            let counts_for = if is_reachable { REACHABLE_FOR } else { UNREACHABLE_FOR };
            if at.elapsed() < counts_for {
                return is_reachable;
            }
        }
        let is_reachable = check.await;
        *seen = Some(Seen { at: Instant::now(), is_reachable });
        is_reachable
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    #[tokio::test]
    async fn an_answer_counts_for_a_while_and_a_failure_for_less() {
        let reachability = Reachability::default();
        assert!(reachability.get_or_check(ready(true)).await);
        assert!(reachability.get_or_check(ready(false)).await, "the first answer still counts");
        let old = Instant::now().checked_sub(REACHABLE_FOR).unwrap();
        *reachability.0.lock().await = Some(Seen { at: old, is_reachable: true });
        assert!(!reachability.get_or_check(ready(false)).await);
        assert!(!reachability.get_or_check(ready(true)).await, "the failure still counts");
        let old = Instant::now().checked_sub(UNREACHABLE_FOR).unwrap();
        *reachability.0.lock().await = Some(Seen { at: old, is_reachable: false });
        assert!(reachability.get_or_check(ready(true)).await);
    }
}
