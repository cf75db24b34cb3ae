//! Messages to rooms, as fast as possible (closed loop) or at a constant rate (open loop).

use std::{collections::VecDeque, time::Duration};

use anyhow::ensure;

use super::sample::{Sample, SampleStart};
use crate::{
    identity::Identity,
    load::{ClientPlan, Clients},
    servers::Server,
};

/// Rooms, their members, and the messages sent to them.
#[derive(Debug, Clone, Copy)]
pub struct FanoutPlan {
    pub rooms: usize,
    /// Members of each room.
    pub members: usize,
    /// Either one per member, or one per room. In the latter case each socket joins as many rooms as a room has
    /// members.
    pub sockets: usize,
    /// Messages in flight in all rooms together. The next one is sent when one has reached all members.
    pub in_flight: usize,
    /// Bytes of a message text.
    pub size: usize,
    pub seconds: f64,
}

impl FanoutPlan {
    /// With one socket per member.
    pub fn new(rooms: usize, members: usize, in_flight: usize, size: usize, seconds: f64) -> Self {
        Self { rooms, members, sockets: rooms * members, in_flight, size, seconds }
    }

    fn connect(&self, server: &Server, identity: &Identity) -> anyhow::Result<Clients> {
        Clients::connect(
            &ClientPlan {
                addresses: &server.addresses,
                protocol: server.protocol,
                sockets: self.sockets,
                rooms_of: &|socket| self.rooms_of(socket),
                rooms: self.rooms,
                after: None,
            },
            identity,
        )
    }

    /// Rooms of a socket are far apart, so that consecutive messages go to different sockets.
    fn rooms_of(&self, socket: usize) -> Vec<usize> {
        let each = self.rooms * self.members / self.sockets;
        (0..each).map(|n| (socket + n * self.rooms / each) % self.rooms).collect()
    }

    /// The sender of the message number `turn` in a room: a different member each time.
    fn sender(&self, room: usize, turn: usize) -> usize {
        let n = turn % self.members;
        if self.sockets == self.rooms {
            (room + self.rooms - n * self.rooms / self.members) % self.rooms
        } else {
            room + n * self.rooms
        }
    }
}

const WARM_UP: f64 = 1.0;
const POLL_TIMEOUT: Duration = Duration::from_millis(20);

/// Keeps `in_flight` messages in flight.
pub fn fanout(server: &Server, identity: &Identity, plan: FanoutPlan) -> anyhow::Result<Sample> {
    let mut clients = plan.connect(server, identity)?;
    let mut sent = vec![0_u64; plan.rooms];
    // Room of each message, and the number of deliveries in that room after which all members have received it.
    let mut in_flight: VecDeque<(usize, u64)> = VecDeque::new();
    let mut turn = 0;
    let mut start: Option<SampleStart> = None;
    let began = clients.stats.now();
    loop {
        in_flight.retain(|(room, target)| clients.stats.delivered[*room] < *target);
        while in_flight.len() < plan.in_flight {
            let room = turn % plan.rooms;
            let sent_at = clients.stats.now();
            clients.send_message(plan.sender(room, turn / plan.rooms), room, sent_at, plan.size)?;
            sent[room] += 1;
            in_flight.push_back((room, sent[room] * plan.members as u64));
            turn += 1;
        }
        clients.poll(POLL_TIMEOUT)?;
        let now = clients.stats.now();
        match &start {
            None if (now - began) as f64 > WARM_UP * 1e9 => {
                start = Some(SampleStart::begin(server, &mut clients)?);
            }
            Some(start) if (now - start.at) as f64 > plan.seconds * 1e9 => {
                return start.end(server, &clients);
            }
            _ => {}
        }
        ensure!(
            (now - began) as f64 / 1e9 < WARM_UP + plan.seconds * 3.0,
            "the server makes no progress"
        );
    }
}

/// Sends `rate` messages per second, independently of the server's replies. Latencies count from the scheduled time of
/// each message, so that a delay of the sender is included. The timer is accurate to a few dozen microseconds.
pub fn open_loop(
    server: &Server,
    identity: &Identity,
    plan: FanoutPlan,
    rate: f64,
) -> anyhow::Result<Sample> {
    let mut clients = plan.connect(server, identity)?;
    let began = clients.stats.now();
    let interval = 1e9 / rate;
    let mut sent = 0_usize;
    let mut start: Option<SampleStart> = None;
    loop {
        let now = clients.stats.now();
        loop {
            let due = began + (sent as f64 * interval) as u64;
            if due > now {
                break;
            }
            let room = sent % plan.rooms;
            clients.send_message(plan.sender(room, sent / plan.rooms), room, due, plan.size)?;
            sent += 1;
        }
        let due = began + (sent as f64 * interval) as u64;
        clients.wake_after(Duration::from_nanos(due.saturating_sub(clients.stats.now())))?;
        clients.poll(POLL_TIMEOUT)?;
        match &start {
            None if (now - began) as f64 > WARM_UP * 1e9 => {
                start = Some(SampleStart::begin(server, &mut clients)?);
            }
            Some(start) if (now - start.at) as f64 > plan.seconds * 1e9 => {
                return start.end(server, &clients);
            }
            _ => {}
        }
    }
}
