//! What must happen to a socket at some moment: one queue for a worker, instead of a timer a socket.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::SocketId;

/// Why a socket is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// It should have proven who it is by now.
    Handshake,
    /// It is to be pinged.
    Ping,
    /// It should have answered the ping of that time by now.
    Pong(Instant),
    /// Its access token expires.
    Expiry,
    /// It should have closed its side by now.
    Close,
    /// It is to be told to move to another gateway.
    Migrate,
}

/// Moments come up to two 64ths of the wait early, at most a second, and never late by rounding: what
/// thousands of idle sockets wait for comes in few wake-ups, and a short wait is kept well.
#[derive(Debug, Default)]
pub struct Clock {
    due: BTreeMap<Duration, Vec<(SocketId, Due)>>,
}

const COARSEST: Duration = Duration::from_millis(512);

impl Clock {
    /// Puts a socket into the queue. `now` is the time since the worker started.
    pub fn after(&mut self, now: Duration, wait: Duration, socket: SocketId, due: Due) {
        let grain = (wait / 64).min(COARSEST).as_millis().max(1) as u64;
        let at = ((now + wait).as_millis() as u64 / grain).saturating_sub(1) * grain;
        self.due.entry(Duration::from_millis(at)).or_default().push((socket, due));
    }

    /// When to look next.
    pub fn next(&self) -> Option<Duration> {
        self.due.keys().next().copied()
    }

    /// Takes what is due by now.
    pub fn take_due(&mut self, now: Duration) -> Vec<(SocketId, Due)> {
        let later = self.due.split_off(&(now + Duration::from_nanos(1)));
        std::mem::replace(&mut self.due, later).into_values().flatten().collect()
    }
}

/// A worker's time, counted from its start.
#[derive(Debug, Clone, Copy)]
pub struct Started(Instant);

impl Started {
    pub fn now() -> Self {
        Self(Instant::now())
    }

    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    pub fn at(self, elapsed: Duration) -> Instant {
        self.0 + elapsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_wait_is_kept_and_long_ones_come_together() {
        let (mut clock, socket) = (Clock::default(), SocketId { index: 1, generation: 1 });
        let ms = Duration::from_millis;
        clock.after(ms(1_003), ms(20), socket, Due::Close);
        assert_eq!(clock.next(), Some(ms(1_022)));
        for start in 0..100 {
            clock.after(ms(start), ms(25_000), socket, Due::Ping);
        }
        assert_eq!(clock.take_due(ms(1_021)), []);
        assert_eq!(clock.take_due(ms(1_022)), [(socket, Due::Close)]);
        assert!(clock.due.len() <= 2, "{:?}", clock.due.keys());
        // Never much too early: a ping that comes a little sooner harms nobody.
        assert!(clock.next().unwrap() >= ms(24_200));
        assert_eq!(clock.take_due(ms(26_000)).len(), 100);
        assert_eq!(clock.next(), None);
    }
}
