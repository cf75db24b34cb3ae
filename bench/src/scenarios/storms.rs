//! Everybody comes at once, or comes back at once.

use std::time::{Duration, Instant};

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use crate::{
    identity::Identity,
    load::{Crowd, Plan},
    servers::Server,
};

/// What a storm cost.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Storm {
    pub sockets: usize,
    /// Until the last one was in.
    pub seconds: f64,
    pub cpu_seconds: f64,
    /// Events replayed.
    pub replayed: u64,
}

/// What follows the last join, such as presence, belongs to the storm.
const AFTERWARDS: Duration = Duration::from_secs(2);

/// `sockets` connect and join `rooms`.
pub fn join_storm(
    server: &Server,
    identity: &Identity,
    sockets: usize,
    rooms: usize,
) -> anyhow::Result<Storm> {
    let plan = plan(server, sockets, rooms, None);
    let rooms_of = |socket: usize| vec![socket % rooms];
    storm(server, identity, &Plan { rooms_of: &rooms_of, ..plan }, 0)
}

/// `sockets` come back to a room, each having missed `missed` messages.
pub fn replay_storm(
    server: &Server,
    identity: &Identity,
    sockets: usize,
    missed: usize,
) -> anyhow::Result<Storm> {
    let mut crowd = Crowd::gather(&plan(server, sockets, 1, None), identity)?;
    for number in 0..missed {
        let stamp = crowd.tally.now();
        crowd.say(number % sockets, 0, stamp, 100)?;
        crowd.turn(Duration::ZERO)?;
    }
    let all = (sockets * missed) as u64;
    crowd.until(|tally| tally.deliveries() >= all)?;
    crowd.scatter();
    // The stream was empty, so the room's events are all after 0.
    let storm = storm(server, identity, &plan(server, sockets, 1, Some(0)), all)?;
    ensure!(storm.replayed == all, "{} of {all} events came", storm.replayed);
    Ok(storm)
}

fn plan(server: &Server, sockets: usize, rooms: usize, after: Option<u64>) -> Plan<'_> {
    let (addresses, dialect) = (&server.addresses, server.dialect);
    Plan { addresses, dialect, sockets, rooms_of: &|_| vec![0], rooms, after }
}

fn storm(
    server: &Server,
    identity: &Identity,
    plan: &Plan<'_>,
    expected: u64,
) -> anyhow::Result<Storm> {
    let before = server.usage()?;
    let began = Instant::now();
    let mut crowd = Crowd::gather(plan, identity)?;
    crowd.until(|tally| tally.deliveries() >= expected)?;
    let seconds = began.elapsed().as_secs_f64();
    let rest = Instant::now();
    while rest.elapsed() < AFTERWARDS {
        crowd.turn(Duration::from_millis(50))?;
    }
    let cpu_seconds = server.usage()?.cpu_seconds - before.cpu_seconds;
    Ok(Storm { sockets: crowd.size(), seconds, cpu_seconds, replayed: crowd.tally.deliveries() })
}
