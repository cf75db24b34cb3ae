//! Publish budgets: rate limits per user and per room for all published events, over sockets and HTTP. Contains
//! the configuration for all processes, and the in-memory state of one process.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use protocol::{
    RoomId, UserId,
    rate::{Budget, OverBudget, Rate},
};

use crate::env::Env;

/// Default of `LIMIT_USER_EVENT_RATE`: equal to the rate of one socket, but for all sockets of a user and HTTP
/// together.
const USER_RATE: f64 = 20.0;
/// Default of `LIMIT_USER_EVENT_BURST`: one minute of the rate, because a client sends at once the messages
/// that it queued while offline. At most 19 MB, a quarter of a percent of a stream of 8 GiB.
const USER_BURST: u32 = 1_200;
/// Default of `LIMIT_ROOM_EVENT_RATE`: at most 3.2 MB/s. The archive moves about 11,000 events/s, which is 55
/// such rooms. A stream that is filling up keeps one minute of archived events, which is 190 MB.
const ROOM_RATE: f64 = 200.0;
/// Default of `LIMIT_ROOM_EVENT_BURST`: one minute of the rate, for example when all members reply to a
/// broadcast.
const ROOM_BURST: u32 = 12_000;

/// The rates. `None` for one that is switched off.
#[derive(Debug, Clone, Copy)]
pub struct PublishLimits {
    /// `LIMIT_USER_EVENT_RATE` a second, with a burst of `LIMIT_USER_EVENT_BURST`. 0 switches it off.
    pub user: Option<Rate>,
    /// `LIMIT_ROOM_EVENT_RATE` and `LIMIT_ROOM_EVENT_BURST`, in the same way.
    pub room: Option<Rate>,
}

impl PublishLimits {
    /// Reads the variables. Faults are recorded in `env`.
    pub fn from_env(env: &mut Env<'_>) -> Self {
        let mut rate = |name, rate, burst| {
            let per_second = env.or(&format!("LIMIT_{name}_EVENT_RATE"), rate);
            if !(0.0..=1e6).contains(&per_second) {
                env.fault(format!(
                    "LIMIT_{name}_EVENT_RATE must be a number of events a second, 0 to 1000000"
                ));
            }
            Rate::new(per_second, env.or(&format!("LIMIT_{name}_EVENT_BURST"), burst))
        };
        Self {
            user: rate("USER", USER_RATE, USER_BURST),
            room: rate("ROOM", ROOM_RATE, ROOM_BURST),
        }
    }
}

/// Number of locks of a table: enough that threads rarely contend.
const LOCKS: usize = 16;
/// Maximum number of entries under one lock, 16 to 32 bytes each; further keys are refused. A key has an entry
/// only until its arrival time has passed, which is 50 ms after a single event.
const ENTRIES: usize = 16 * 1024;
/// Number of entries from which on expired ones are removed.
const SWEEP_FROM: usize = 256;

/// The budgets of one process. Cheap to clone; clones share them.
#[derive(Debug, Clone)]
pub struct PublishBudgets(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: PublishLimits,
    since: Instant,
    users: Table,
    rooms: Table,
}

impl PublishBudgets {
    pub fn new(limits: PublishLimits) -> Self {
        let (users, rooms) = (Table::default(), Table::default());
        Self(Arc::new(Inner { limits, since: Instant::now(), users, rooms }))
    }

    /// Reads the variables. Faults are recorded in `env`.
    pub fn from_env(env: &mut Env<'_>) -> Self {
        Self::new(PublishLimits::from_env(env))
    }

    /// Charges one event to a user's budget.
    pub fn charge_user(&self, user: UserId) -> Result<(), OverBudget> {
        let Inner { limits, users, .. } = &*self.0;
        charge(users, limits.user, user.as_uuid().as_u128(), self.now(), Budget::User)
    }

    /// Charges one event to a room's budget.
    pub fn charge_room(&self, room: RoomId) -> Result<(), OverBudget> {
        let Inner { limits, rooms, .. } = &*self.0;
        charge(rooms, limits.room, room.as_uuid().as_u128(), self.now(), Budget::Room)
    }

    fn now(&self) -> i64 {
        i64::try_from(self.0.since.elapsed().as_micros()).unwrap_or(i64::MAX)
    }
}

fn charge(
    table: &Table,
    rate: Option<Rate>,
    key: u128,
    now: i64,
    budget: Budget,
) -> Result<(), OverBudget> {
    let Some(rate) = rate else { return Ok(()) };
    table.charge(rate, key, now).map_err(|wait| OverBudget { budget, wait }).inspect_err(count)
}

/// Counts a refusal in the metrics, also for budgets that are kept elsewhere.
pub fn count(over: &OverBudget) {
    metrics::counter!("chat_publish_refused_total", "code" => over.budget.code().as_str())
        .increment(1);
}

/// The arrival times of [`Rate`], by the UUID of a user or a room.
#[derive(Debug, Default)]
struct Table([Mutex<Segment>; LOCKS]);

#[derive(Debug, Default)]
struct Segment {
    arrivals: HashMap<u128, i64>,
    /// The number of entries at which the next sweep is due.
    sweep_at: usize,
}

impl Table {
    fn charge(&self, rate: Rate, key: u128, now: i64) -> Result<(), std::time::Duration> {
        // The last bits of a UUID are random in all versions in use.
        let segment = &self.0[key as usize % LOCKS];
        let mut segment = segment.lock().unwrap_or_else(PoisonError::into_inner);
        let arrival = segment.arrivals.get(&key).copied();
        let next = rate.charge(arrival.unwrap_or(now), now)?;
        if arrival.is_none() && segment.arrivals.len() >= segment.sweep_at.max(SWEEP_FROM) {
            segment.arrivals.retain(|_, arrival| *arrival > now);
            segment.sweep_at = (segment.arrivals.len() * 2).min(ENTRIES);
            if segment.arrivals.len() >= ENTRIES {
                return Err(std::time::Duration::from_secs(1));
            }
        }
        segment.arrivals.insert(key, next);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(user: (f64, u32), room: (f64, u32)) -> PublishLimits {
        PublishLimits { user: Rate::new(user.0, user.1), room: Rate::new(room.0, room.1) }
    }

    #[test]
    fn each_user_and_room_has_a_separate_budget() {
        let budgets = PublishBudgets::new(limits((0.001, 3), (0.001, 2)));
        let (ada, bob, room) = (UserId::generate(), UserId::generate(), RoomId::generate());
        for _ in 0..3 {
            assert_eq!(budgets.charge_user(ada), Ok(()));
        }
        let over = budgets.clone().charge_user(ada).unwrap_err();
        assert_eq!(over.budget, Budget::User);
        assert_eq!(budgets.charge_user(bob), Ok(()));
        assert!(budgets.charge_room(room).is_ok() && budgets.charge_room(room).is_ok());
        assert_eq!(budgets.charge_room(room).unwrap_err().budget, Budget::Room);
        assert_eq!(budgets.charge_room(RoomId::generate()), Ok(()));
    }

    #[test]
    fn expired_entries_are_removed_and_no_others() {
        let (table, rate) = (Table::default(), Rate::new(1.0, 1).unwrap());
        let flooder = 1 << 100;
        table.charge(rate, flooder, 0).unwrap();
        // All keys are under one lock, and all charges within the second of the first event.
        for key in 1..ENTRIES as u128 {
            table.charge(rate, key * LOCKS as u128, 0).unwrap();
        }
        assert!(table.charge(rate, flooder, 999_999).is_err());
        assert!(table.charge(rate, 2 << 100, 999_999).is_err(), "it is full");
        let entries = || table.0[0].lock().unwrap().arrivals.len();
        assert_eq!(entries(), ENTRIES);
        table.charge(rate, flooder, 1_000_000).unwrap();
        table.charge(rate, 2 << 100, 1_000_001).unwrap();
        assert_eq!(entries(), 2);
    }

    #[test]
    fn limits_are_read_and_switched_off() {
        let read = |name: &str| match name {
            "LIMIT_USER_EVENT_RATE" => Some("0".to_owned()),
            "LIMIT_ROOM_EVENT_RATE" => Some("0.5".to_owned()),
            "LIMIT_ROOM_EVENT_BURST" => Some("1".to_owned()),
            _ => None,
        };
        let limits = Env::read(read, |env| Some(PublishLimits::from_env(env))).unwrap();
        assert_eq!((limits.user, limits.room), (None, Rate::new(0.5, 1)));
        for (name, value) in [("LIMIT_USER_EVENT_RATE", "-1"), ("LIMIT_ROOM_EVENT_BURST", "x")] {
            let read = |asked: &str| (asked == name).then(|| value.to_owned());
            let fault = Env::read(read, |env| Some(PublishLimits::from_env(env))).unwrap_err();
            assert!(fault.to_string().contains(name), "{fault}");
        }
    }
}
