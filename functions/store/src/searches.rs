//! Bounds concurrent searches. A search may read all of a big room: one user must not occupy the whole
//! database, and all users together not every connection to it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use protocol::UserId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::SearchRefused;

/// How long a search waits for others to end before the caller is told to come again.
const WAIT: Duration = Duration::from_secs(2);
/// A search whose client hung up still counts for so long: until the database has cancelled it.
const CANCELLED_WITHIN: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Clone)]
pub struct Searches(Arc<Inner>);

struct Inner {
    per_user: usize,
    places: Arc<Semaphore>,
    /// Users with searches, so at most as many as there are requests.
    running: Mutex<HashMap<UserId, usize>>,
}

/// A search that runs, or has been abandoned: dropped without [`Search::done`].
pub struct Search {
    counted: Option<Counted>,
    is_done: bool,
}

/// One of a user's searches, and one of the places.
struct Counted {
    inner: Arc<Inner>,
    user: UserId,
    _place: Option<OwnedSemaphorePermit>,
}

impl Searches {
    /// At most `per_user` of each user, if that is not 0, and `at_once` of all.
    pub fn new(per_user: usize, at_once: usize) -> Self {
        let (places, running) = (Arc::new(Semaphore::new(at_once)), Mutex::default());
        Self(Arc::new(Inner { per_user, places, running }))
    }

    /// Waits for a place.
    pub async fn begin(&self, user: UserId) -> Result<Search, SearchRefused> {
        let mut counted = self.0.count(user).ok_or(SearchRefused::TooManyOfUser)?;
        let place = tokio::time::timeout(WAIT, self.0.places.clone().acquire_owned()).await;
        let place = place.map_err(|_| SearchRefused::TooMany)?;
        counted._place = Some(place.map_err(|_| SearchRefused::TooMany)?);
        Ok(Search { counted: Some(counted), is_done: false })
    }
}

impl Inner {
    fn count(self: &Arc<Self>, user: UserId) -> Option<Counted> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let of_user = running.get(&user).copied().unwrap_or(0);
        if self.per_user > 0 && of_user >= self.per_user {
            metrics::counter!("searches_refused_total").increment(1);
            return None;
        }
        running.insert(user, of_user + 1);
        Some(Counted { inner: self.clone(), user, _place: None })
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

impl Search {
    /// Its statements have ended.
    pub fn done(mut self) {
        self.is_done = true;
    }
}

impl Drop for Search {
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
    async fn a_user_has_so_many_searches_and_all_users_so_many_places() {
        let searches = Searches::new(2, 3);
        let (ada, bob) = (UserId::generate(), UserId::generate());
        let one = searches.begin(ada).await.ok();
        let other = searches.begin(ada).await.ok();
        assert!(matches!(searches.begin(ada).await, Err(SearchRefused::TooManyOfUser)));
        let of_bob = searches.begin(bob).await.ok();
        assert!(
            matches!(searches.begin(bob).await, Err(SearchRefused::TooMany)),
            "no place is left"
        );
        for search in [one, other, of_bob].into_iter().flatten() {
            search.done();
        }
        assert!(searches.0.running.lock().is_ok_and(|running| running.is_empty()));
        assert!(searches.begin(ada).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn an_abandoned_search_counts_until_it_is_cancelled() {
        let searches = Searches::new(1, 8);
        let ada = UserId::generate();
        drop(searches.begin(ada).await.ok());
        assert!(matches!(searches.begin(ada).await, Err(SearchRefused::TooManyOfUser)));
        tokio::time::sleep(2 * CANCELLED_WITHIN).await;
        assert!(searches.begin(ada).await.is_ok());
    }
}
