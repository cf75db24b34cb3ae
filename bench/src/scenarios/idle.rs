//! Memory and CPU of sockets that have joined a room and are idle.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::{
    identity::Identity,
    load::{ClientPlan, Clients},
    servers::Server,
};

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct IdleSockets {
    pub sockets: usize,
    pub rss_bytes_per_socket: f64,
    /// Of one core, with no traffic except heartbeats.
    pub cpu_percent: f64,
}

/// Memory of rooms without the memory of their sockets.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct IdleRooms {
    pub sockets: usize,
    pub rooms: usize,
    pub rss_bytes_per_room: f64,
}

const ROOM_SIZE: usize = 100;
/// Pause after the last join, in which presence is sent and memory is released.
const SETTLE_TIME: Duration = Duration::from_secs(5);
const MEASURE_TIME: Duration = Duration::from_secs(10);

/// Connects `sockets` and measures them.
pub fn idle(server: &Server, identity: &Identity, sockets: usize) -> anyhow::Result<IdleSockets> {
    let plan = |sockets| ClientPlan {
        addresses: &server.addresses,
        protocol: server.protocol,
        sockets,
        rooms_of: &|socket| vec![socket / ROOM_SIZE],
        rooms: sockets.div_ceil(ROOM_SIZE),
        after: None,
    };
    // Memory that the process allocates once, with its first sockets, is not counted.
    let first = Clients::connect(&plan(ROOM_SIZE), &identity.with_new_rooms())?;
    let before = server.usage()?.rss_bytes;
    let mut clients = Clients::connect(&plan(sockets), identity)?;
    wait(&mut clients, SETTLE_TIME)?;
    let settled = server.usage()?;
    wait(&mut clients, MEASURE_TIME)?;
    let after = server.usage()?;
    drop(first);
    Ok(IdleSockets {
        sockets,
        rss_bytes_per_socket: after.rss_bytes.saturating_sub(before) as f64 / sockets as f64,
        cpu_percent: (after.cpu_seconds - settled.cpu_seconds) / MEASURE_TIME.as_secs_f64() * 100.0,
    })
}

/// Compares the memory of a server whose sockets are in one room with that of another one with several rooms.
pub fn idle_rooms(
    start: impl Fn() -> anyhow::Result<Server>,
    identity: &Identity,
    sockets: usize,
    rooms: usize,
) -> anyhow::Result<IdleRooms> {
    let rss_with = |rooms: usize| {
        let server = start()?;
        let plan = ClientPlan {
            addresses: &server.addresses,
            protocol: server.protocol,
            sockets,
            rooms_of: &|socket| vec![socket % rooms],
            rooms,
            after: None,
        };
        let mut clients = Clients::connect(&plan, &identity.with_new_rooms())?;
        wait(&mut clients, SETTLE_TIME)?;
        anyhow::Ok(server.usage()?.rss_bytes)
    };
    let (one, many) = (rss_with(1)?, rss_with(rooms)?);
    let rss_bytes_per_room = many.saturating_sub(one) as f64 / (rooms - 1) as f64;
    Ok(IdleRooms { sockets, rooms, rss_bytes_per_room })
}

/// Handles events for `time`.
fn wait(clients: &mut Clients, time: Duration) -> anyhow::Result<()> {
    let began = Instant::now();
    while began.elapsed() < time {
        clients.poll(Duration::from_millis(100))?;
    }
    Ok(())
}
