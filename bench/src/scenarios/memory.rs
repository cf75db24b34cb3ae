//! Sockets that are joined and silent.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::{
    identity::Identity,
    load::{Crowd, Plan},
    servers::Server,
};

/// What silence costs.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Idle {
    pub sockets: usize,
    pub rss_bytes_per_socket: f64,
    /// Of one core, while nothing happens but heartbeats.
    pub cpu_percent: f64,
}

/// What rooms cost besides the sockets in them.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct IdleRooms {
    pub sockets: usize,
    pub rooms: usize,
    pub rss_bytes_per_room: f64,
}

const ROOM: usize = 100;
/// After the last join: presence is told, caches are given back.
const SETTLE: Duration = Duration::from_secs(5);
const WATCH: Duration = Duration::from_secs(10);

/// Joins `sockets` and watches.
pub fn idle(server: &Server, identity: &Identity, sockets: usize) -> anyhow::Result<Idle> {
    let plan = |sockets| Plan {
        addresses: &server.addresses,
        dialect: server.dialect,
        sockets,
        rooms_of: &|socket| vec![socket / ROOM],
        rooms: sockets.div_ceil(ROOM),
        after: None,
    };
    // What a process holds after its first few sockets is not theirs.
    let few = Crowd::gather(&plan(ROOM), &identity.elsewhere())?;
    let before = server.usage()?.rss_bytes;
    let mut crowd = Crowd::gather(&plan(sockets), identity)?;
    rest(&mut crowd, SETTLE)?;
    let settled = server.usage()?;
    rest(&mut crowd, WATCH)?;
    let after = server.usage()?;
    drop(few);
    Ok(Idle {
        sockets,
        rss_bytes_per_socket: after.rss_bytes.saturating_sub(before) as f64 / sockets as f64,
        cpu_percent: (after.cpu_seconds - settled.cpu_seconds) / WATCH.as_secs_f64() * 100.0,
    })
}

/// Joins as many sockets in one room and in `rooms`, each time in a server of its own.
pub fn idle_rooms(
    start: impl Fn() -> anyhow::Result<Server>,
    identity: &Identity,
    sockets: usize,
    rooms: usize,
) -> anyhow::Result<IdleRooms> {
    let rss_with = |rooms: usize| {
        let server = start()?;
        let plan = Plan {
            addresses: &server.addresses,
            dialect: server.dialect,
            sockets,
            rooms_of: &|socket| vec![socket % rooms],
            rooms,
            after: None,
        };
        let mut crowd = Crowd::gather(&plan, &identity.elsewhere())?;
        rest(&mut crowd, SETTLE)?;
        anyhow::Ok(server.usage()?.rss_bytes)
    };
    let (one, many) = (rss_with(1)?, rss_with(rooms)?);
    let rss_bytes_per_room = many.saturating_sub(one) as f64 / (rooms - 1) as f64;
    Ok(IdleRooms { sockets, rooms, rss_bytes_per_room })
}

fn rest(crowd: &mut Crowd, time: Duration) -> anyhow::Result<()> {
    let began = Instant::now();
    while began.elapsed() < time {
        crowd.turn(Duration::from_millis(100))?;
    }
    Ok(())
}
