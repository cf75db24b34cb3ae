//! A queue of joins that wait for memory, the oldest first.

use std::collections::VecDeque;

use protocol::{Seq, stored::Person};
use tokio::time::{Duration, Instant};

use crate::wire::sid::SocketRef;

/// How long a join may wait for memory for its replay. Less than the ping timeout, because the socket is not
/// read from during the wait, so its pongs are not seen.
const WAIT_AT_MOST: Duration = Duration::from_secs(5);
/// How often waiting joins are tried again.
const RETRY_EVERY: Duration = Duration::from_millis(200);

/// A socket's request to join.
#[derive(Debug)]
pub struct Join {
    pub socket: SocketRef,
    pub person: Person,
    /// The newest event that its client has.
    pub after: Option<Seq>,
    pub ack: Option<u64>,
}

/// See the module. Bounded by the number of sockets, because a socket has at most one pending join.
#[derive(Debug, Default)]
pub struct WaitingJoins {
    /// Joins with their deadlines.
    joins: VecDeque<(Join, Instant)>,
    retry_at: Option<Instant>,
}

impl WaitingJoins {
    pub fn is_empty(&self) -> bool {
        self.joins.is_empty()
    }

    /// When to try again.
    pub fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Whether it is time to try again.
    pub fn take_due(&mut self, now: Instant) -> bool {
        self.retry_at.take_if(|at| *at <= now).is_some()
    }

    /// Adds a join.
    pub fn add(&mut self, join: Join) {
        let now = Instant::now();
        self.joins.push_back((join, now + WAIT_AT_MOST));
        self.retry_at.get_or_insert(now + RETRY_EVERY);
    }

    /// Takes a join whose deadline has passed.
    pub fn take_late(&mut self) -> Option<Join> {
        let (join, _) = self.joins.pop_front_if(|(_, deadline)| *deadline <= Instant::now())?;
        Some(join)
    }

    /// Takes the oldest join, with its deadline.
    pub fn take_first(&mut self) -> Option<(Join, Instant)> {
        self.joins.pop_front()
    }

    /// Puts back the oldest join, for which there is no memory yet.
    pub fn put_back(&mut self, join: Join, deadline: Instant) {
        self.joins.push_front((join, deadline));
    }

    /// Schedules the next attempt, if any join is left.
    pub fn plan_retry(&mut self) {
        self.retry_at = (!self.is_empty()).then(|| Instant::now() + RETRY_EVERY);
    }
}
