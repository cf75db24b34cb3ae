//! The drain of a worker: its sockets are asked to migrate one after the other, and those that are left at
//! the end are closed.

use std::time::{Duration, Instant};

use protocol::Timestamp;

use super::timers::{Due, Timers};
use crate::wire::sid::SocketId;

/// The share of the drain in which all sockets are asked, so that the last one has time too.
const ASK_WITHIN: f64 = 0.5;

/// See the module.
pub struct Draining {
    deadline: Timestamp,
    ends: Instant,
}

impl Draining {
    /// Starts the drain. The sockets' turns are spread over time, so that they do not all reach another
    /// gateway at once.
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
        Self { deadline, ends: Instant::now() + within }
    }

    /// The deadline that clients are told.
    pub fn deadline(&self) -> Timestamp {
        self.deadline
    }

    /// How long ago the drain ended; none while it lasts.
    pub fn ended_for(&self) -> Option<Duration> {
        Instant::now().checked_duration_since(self.ends)
    }
}
