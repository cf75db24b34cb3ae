//! Many clients that join, or rejoin with missed messages, at the same time.

use std::time::{Duration, Instant};

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use crate::{
    identity::Identity,
    load::{ClientPlan, Clients},
    servers::Server,
};

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct StormCost {
    pub sockets: usize,
    /// Time until the last client had joined.
    pub seconds: f64,
    pub cpu_seconds: f64,
    /// Number of replayed events.
    pub replayed: u64,
}

/// CPU time after the last join, such as for presence, is included.
const SETTLE_TIME: Duration = Duration::from_secs(2);

/// `sockets` connect at once and join `rooms` rooms.
pub fn join_storm(
    server: &Server,
    identity: &Identity,
    sockets: usize,
    rooms: usize,
) -> anyhow::Result<StormCost> {
    let plan = plan(server, sockets, rooms, None);
    let rooms_of = |socket: usize| vec![socket % rooms];
    storm(server, identity, &ClientPlan { rooms_of: &rooms_of, ..plan }, 0)
}

/// `sockets` rejoin a room at once, after each has missed `missed` messages.
pub fn replay_storm(
    server: &Server,
    identity: &Identity,
    sockets: usize,
    missed: usize,
) -> anyhow::Result<StormCost> {
    let mut clients = Clients::connect(&plan(server, sockets, 1, None), identity)?;
    for number in 0..missed {
        let sent_at = clients.stats.now();
        clients.send_message(number % sockets, 0, sent_at, 100)?;
        clients.poll(Duration::ZERO)?;
    }
    let all = (sockets * missed) as u64;
    clients.poll_until(|stats| stats.deliveries() >= all)?;
    clients.disconnect();
    // The stream was empty, so all events of the room have a sequence above 0.
    let storm = storm(server, identity, &plan(server, sockets, 1, Some(0)), all)?;
    ensure!(storm.replayed == all, "{} of {all} events were replayed", storm.replayed);
    Ok(storm)
}

fn plan(server: &Server, sockets: usize, rooms: usize, after: Option<u64>) -> ClientPlan<'_> {
    let (addresses, protocol) = (&server.addresses, server.protocol);
    ClientPlan { addresses, protocol, sockets, rooms_of: &|_| vec![0], rooms, after }
}

fn storm(
    server: &Server,
    identity: &Identity,
    plan: &ClientPlan<'_>,
    expected: u64,
) -> anyhow::Result<StormCost> {
    let before = server.usage()?;
    let began = Instant::now();
    let mut clients = Clients::connect(plan, identity)?;
    clients.poll_until(|stats| stats.deliveries() >= expected)?;
    let seconds = began.elapsed().as_secs_f64();
    let settling = Instant::now();
    while settling.elapsed() < SETTLE_TIME {
        clients.poll(Duration::from_millis(50))?;
    }
    let cpu_seconds = server.usage()?.cpu_seconds - before.cpu_seconds;
    Ok(StormCost {
        sockets: clients.size(),
        seconds,
        cpu_seconds,
        replayed: clients.stats.deliveries(),
    })
}
