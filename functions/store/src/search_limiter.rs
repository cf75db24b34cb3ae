//! Bounds concurrent searches, per user and in total. A search may read every message of a large room, so searches
//! could otherwise occupy all database connections.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use protocol::UserId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::SearchRefused;

/// How long a search waits for others to end before it is refused.
const MAX_WAIT: Duration = Duration::from_secs(2);
/// How long the database may take to cancel an abandoned search, which counts until then.
const CANCELLED_WITHIN: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Clone)]
pub struct SearchLimiter(Arc<Inner>);

struct Inner {
    per_user: usize,
    /// Permits of all users together.
    total: Arc<Semaphore>,
    /// Running searches per user. Bounded by the number of requests, because users without a search are removed.
    running: Mutex<HashMap<UserId, usize>>,
}

/// The permit of a running search. Dropped without [`SearchPermit::done`], the search counts as abandoned.
pub struct SearchPermit {
    counted: Option<Counted>,
    is_done: bool,
}

/// Releases the permits when it is dropped.
struct Counted {
    inner: Arc<Inner>,
    user: UserId,
    _total: Option<OwnedSemaphorePermit>,
}

impl SearchLimiter {
    /// Allows `per_user` concurrent searches per user (0: unlimited) and `at_once` in total.
    pub fn new(per_user: usize, at_once: usize) -> Self {
        let (total, running) = (Arc::new(Semaphore::new(at_once)), Mutex::default());
        Self(Arc::new(Inner { per_user, total, running }))
    }

    /// Waits for a permit.
    pub async fn begin(&self, user: UserId) -> Result<SearchPermit, SearchRefused> {
        let mut counted = self.0.count(user).ok_or(SearchRefused::TooManyOfUser)?;
        let permit = tokio::time::timeout(MAX_WAIT, self.0.total.clone().acquire_owned()).await;
        let permit = permit.map_err(|_| SearchRefused::TooMany)?;
        counted._total = Some(permit.map_err(|_| SearchRefused::TooMany)?);
        Ok(SearchPermit { counted: Some(counted), is_done: false })
    }
}

impl Inner {
    fn count(self: &Arc<Self>, user: UserId) -> Option<Counted> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let of_user = running.get(&user).copied().unwrap_or(0);
        if self.per_user > 0 && of_user >= self.per_user {
            metrics::counter!("chat_searches_refused_total").increment(1);
            return None;
        }
        running.insert(user, of_user + 1);
        Some(Counted { inner: self.clone(), user, _total: None })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut running = self.inner.running.lock().unwrap_or_else(PoisonError::into_inner);
        let left = running.get(&self.user).copied().unwrap_or(0).saturating_sub(1);
        if left == 0 {
            running.remove(&self.user);
        } else {
            running.insert(self.user, left);
        }
    }
}

impl SearchPermit {
    /// To be called when the search's statements have ended.
    pub fn done(mut self) {
        self.is_done = true;
    }
}

impl Drop for SearchPermit {
    fn drop(&mut self) {
        let counted = self.counted.take().filter(|_| !self.is_done);
        if let (Some(counted), Ok(runtime)) = (counted, tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move {
                tokio::time::sleep(CANCELLED_WITHIN).await;
                drop(counted);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn searches_are_bounded_per_user_and_in_total() {
        let searches = SearchLimiter::new(2, 3);
        let (ada, bob) = (UserId::generate(), UserId::generate());
        let one = searches.begin(ada).await.ok();
        let other = searches.begin(ada).await.ok();
        assert!(matches!(searches.begin(ada).await, Err(SearchRefused::TooManyOfUser)));
        let of_bob = searches.begin(bob).await.ok();
        assert!(
            matches!(searches.begin(bob).await, Err(SearchRefused::TooMany)),
            "no permit is left"
        );
        for search in [one, other, of_bob].into_iter().flatten() {
            search.done();
        }
        assert!(searches.0.running.lock().is_ok_and(|running| running.is_empty()));
        assert!(searches.begin(ada).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn an_abandoned_search_counts_until_it_is_cancelled() {
        let searches = SearchLimiter::new(1, 8);
        let ada = UserId::generate();
        drop(searches.begin(ada).await.ok());
        assert!(matches!(searches.begin(ada).await, Err(SearchRefused::TooManyOfUser)));
        tokio::time::sleep(2 * CANCELLED_WITHIN).await;
        assert!(searches.begin(ada).await.is_ok());
    }
}
