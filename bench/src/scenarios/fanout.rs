//! Messages to rooms: as many as the server takes, or at a rate.

use std::{collections::VecDeque, time::Duration};

use anyhow::ensure;

use super::{Mark, Sample};
use crate::{
    identity::Identity,
    load::{Crowd, Plan},
    servers::Server,
};

/// Rooms, who is in them, and what is said.
#[derive(Debug, Clone, Copy)]
pub struct Fanout {
    pub rooms: usize,
    /// Members of each room.
    pub members: usize,
    /// One for each member, or one for each room: then each is in as many rooms as a room has members.
    pub sockets: usize,
    /// Messages under way in all rooms together: the next is sent when one has reached all members.
    pub in_flight: usize,
    /// Bytes of a message's text.
    pub size: usize,
    pub seconds: f64,
}

impl Fanout {
    /// One socket for every member.
    pub fn new(rooms: usize, members: usize, in_flight: usize, size: usize, seconds: f64) -> Self {
        Self { rooms, members, sockets: rooms * members, in_flight, size, seconds }
    }

    fn gather(&self, server: &Server, identity: &Identity) -> anyhow::Result<Crowd> {
        Crowd::gather(
            &Plan {
                addresses: &server.addresses,
                dialect: server.dialect,
                sockets: self.sockets,
                rooms_of: &|socket| self.rooms_of(socket),
                rooms: self.rooms,
                after: None,
            },
            identity,
        )
    }

    /// Far apart, so that rooms that are spoken to one after the other share no socket.
    fn rooms_of(&self, socket: usize) -> Vec<usize> {
        let each = self.rooms * self.members / self.sockets;
        (0..each).map(|n| (socket + n * self.rooms / each) % self.rooms).collect()
    }

    /// A member of a room; another one with every turn.
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
const WAIT: Duration = Duration::from_millis(20);

/// Keeps `in_flight` messages under way.
pub fn fanout(server: &Server, identity: &Identity, plan: Fanout) -> anyhow::Result<Sample> {
    let mut crowd = plan.gather(server, identity)?;
    let mut said = vec![0_u64; plan.rooms];
    // Each with the count of its room's deliveries at which all have it.
    let mut under_way: VecDeque<(usize, u64)> = VecDeque::new();
    let mut turn = 0;
    let mut mark: Option<Mark> = None;
    let began = crowd.tally.now();
    loop {
        under_way.retain(|(room, target)| crowd.tally.delivered[*room] < *target);
        while under_way.len() < plan.in_flight {
            let room = turn % plan.rooms;
            let stamp = crowd.tally.now();
            crowd.say(plan.sender(room, turn / plan.rooms), room, stamp, plan.size)?;
            said[room] += 1;
            under_way.push_back((room, said[room] * plan.members as u64));
            turn += 1;
        }
        crowd.turn(WAIT)?;
        let now = crowd.tally.now();
        match &mark {
            None if (now - began) as f64 > WARM_UP * 1e9 => {
                mark = Some(Mark::begin(server, &mut crowd)?);
            }
            Some(mark) if (now - mark.at) as f64 > plan.seconds * 1e9 => {
                return mark.end(server, &crowd);
            }
            _ => {}
        }
        ensure!((now - began) as f64 / 1e9 < WARM_UP + plan.seconds * 3.0, "the server is stuck");
    }
}

/// Sends `rate` messages a second, come what may; latencies count from when each was due. The timer
/// is exact to some dozen microseconds, so that it is not the timer that is measured.
pub fn open_loop(
    server: &Server,
    identity: &Identity,
    plan: Fanout,
    rate: f64,
) -> anyhow::Result<Sample> {
    let mut crowd = plan.gather(server, identity)?;
    let began = crowd.tally.now();
    let every = 1e9 / rate;
    let mut sent = 0_usize;
    let mut mark: Option<Mark> = None;
    loop {
        let now = crowd.tally.now();
        loop {
            let due = began + (sent as f64 * every) as u64;
            if due > now {
                break;
            }
            let room = sent % plan.rooms;
            crowd.say(plan.sender(room, sent / plan.rooms), room, due, plan.size)?;
            sent += 1;
        }
        let due = began + (sent as f64 * every) as u64;
        crowd.wake_after(Duration::from_nanos(due.saturating_sub(crowd.tally.now())))?;
        crowd.turn(WAIT)?;
        match &mark {
            None if (now - began) as f64 > WARM_UP * 1e9 => {
                mark = Some(Mark::begin(server, &mut crowd)?);
            }
            Some(mark) if (now - mark.at) as f64 > plan.seconds * 1e9 => {
                return mark.end(server, &crowd);
            }
            _ => {}
        }
    }
}
