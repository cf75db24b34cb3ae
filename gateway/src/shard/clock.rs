//! What must happen to a socket at some second: one queue for a shard, instead of a timer a socket.

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
    /// It should have answered the ping by now.
    Pong,
    /// Its access token expires.
    Expiry,
    /// It should have closed its side by now.
    Close,
    /// It is to be told to move to another gateway.
    Migrate,
}

/// Seconds are exact enough for all of this.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    due: BTreeMap<u64, Vec<(SocketId, Due)>>,
}

impl Clock {
    pub fn new() -> Self {
        Self { started: Instant::now(), due: BTreeMap::new() }
    }

    /// Puts a socket into the queue, never earlier than asked.
    pub fn after(&mut self, wait: Duration, socket: SocketId, due: Due) {
        let second = (self.started.elapsed() + wait).as_secs() + 1;
        self.due.entry(second).or_default().push((socket, due));
    }

    /// Takes what is due by now.
    pub fn take_due(&mut self) -> Vec<(SocketId, Due)> {
        let later = self.due.split_off(&(self.started.elapsed().as_secs() + 1));
        std::mem::replace(&mut self.due, later).into_values().flatten().collect()
    }
}
