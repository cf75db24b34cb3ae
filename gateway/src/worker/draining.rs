//! The drain of a worker: its sockets are asked to migrate one after the other, and the remaining ones are
//! closed at the end.

use std::time::{Duration, Instant};

use protocol::Timestamp;

use super::timers::{Due, Timers};
use crate::wire::sid::SocketId;

/// The share of the drain within which all sockets are asked, so that the last one has time to migrate.
const ASK_WITHIN: f64 = 0.5;

/// See the module.
pub struct Draining {
    deadline: Timestamp,
    began: Instant,
    ends: Instant,
}

impl Draining {
    /// Starts the drain. The requests to migrate are spread over time, so that the sockets do not all reach
    /// another gateway at once.
    pub fn start(
        deadline: Timestamp,
        within: Duration,
        sockets: &[SocketId],
        timers: &mut Timers,
    ) -> Self {
        let count = sockets.len().max(1) as f64;
        for (nth, id) in sockets.iter().enumerate() {
            let wait = within.mul_f64(ASK_WITHIN * nth as f64 / count);
            timers.start(wait, *id, Due::Migrate);
        }
        let began = Instant::now();
        Self { deadline, began, ends: began + within }
    }

    /// The time since the drain's start.
    pub fn lasts(&self) -> Duration {
        self.began.elapsed()
    }

    /// The deadline in the event `migrate`.
    pub fn deadline(&self) -> Timestamp {
        self.deadline
    }

    /// The time since the drain's deadline; none before it.
    pub fn ended_for(&self) -> Option<Duration> {
        Instant::now().checked_duration_since(self.ends)
    }
}
