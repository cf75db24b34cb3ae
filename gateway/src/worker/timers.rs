//! Timers of sockets: one queue per worker instead of one tokio timer per socket.
//!
//! Why not `tokio_util::time::DelayQueue`: it keeps a slab entry with list links per timer and fires each at
//! its own millisecond. Here a timer costs 40 bytes, and timers of thousands of idle sockets are grouped, so
//! that they need few wake-ups.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::wire::sid::SocketId;

/// The purpose of a timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// The deadline of the handshake.
    Handshake,
    /// Time for a ping.
    Ping,
    /// The deadline for the answer to the ping that was sent at that time.
    Pong(Instant),
    /// A check of the access token's expiry.
    Expiry,
    /// The deadline for the peer to close its side.
    Close,
    /// Time to ask the client to migrate to another gateway.
    Migrate,
}

/// See the module. To be grouped, a timer may fire early by up to 2/64 of its wait, at most a second. So a
/// short wait stays precise, and rounding makes no timer late.
#[derive(Debug)]
pub struct Timers {
    started: Instant,
    /// Timers by the time since `started`.
    due: BTreeMap<Duration, Vec<(SocketId, Due)>>,
}

const COARSEST: Duration = Duration::from_millis(512);

impl Default for Timers {
    fn default() -> Self {
        Self { started: Instant::now(), due: BTreeMap::new() }
    }
}

impl Timers {
    /// Starts a timer.
    pub fn start(&mut self, wait: Duration, socket: SocketId, due: Due) {
        self.start_at(self.started.elapsed(), wait, socket, due);
    }

    fn start_at(&mut self, now: Duration, wait: Duration, socket: SocketId, due: Due) {
        let grain = (wait / 64).min(COARSEST).as_millis().max(1) as u64;
        let at = ((now + wait).as_millis() as u64 / grain).saturating_sub(1) * grain;
        self.due.entry(Duration::from_millis(at)).or_default().push((socket, due));
    }

    /// When the next timer fires.
    pub fn next(&self) -> Option<Instant> {
        self.due.keys().next().map(|&at| self.started + at)
    }

    /// Takes the timers that have fired.
    pub fn take_due(&mut self) -> Vec<(SocketId, Due)> {
        self.take_due_at(self.started.elapsed())
    }

    fn take_due_at(&mut self, now: Duration) -> Vec<(SocketId, Due)> {
        let later = self.due.split_off(&(now + Duration::from_nanos(1)));
        std::mem::replace(&mut self.due, later).into_values().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_waits_are_precise_and_long_ones_are_grouped() {
        let (mut timers, socket) = (Timers::default(), SocketId { index: 1, generation: 1 });
        let ms = Duration::from_millis;
        timers.start_at(ms(1_003), ms(20), socket, Due::Close);
        assert_eq!(timers.next(), Some(timers.started + ms(1_022)));
        for start in 0..100 {
            timers.start_at(ms(start), ms(25_000), socket, Due::Ping);
        }
        assert_eq!(timers.take_due_at(ms(1_021)), []);
        assert_eq!(timers.take_due_at(ms(1_022)), [(socket, Due::Close)]);
        assert!(timers.due.len() <= 2, "{:?}", timers.due.keys());
        // Firing a little early is allowed: an early ping does no harm.
        assert!(timers.next().unwrap() >= timers.started + ms(24_200));
        assert_eq!(timers.take_due_at(ms(26_000)).len(), 100);
        assert_eq!(timers.next(), None);
    }
}
