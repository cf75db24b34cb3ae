//! `archive --follow` behind the stream, and at its pace.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use protocol::{
    DisplayName, MessageId, MessageText, RoomId, Timestamp, UserId,
    stored::{Message, Person, StoredEvent},
    subject::{self, ARCHIVE_API, ARCHIVE_CONSUMER, Shards},
};
use serde::{Deserialize, Serialize};

use crate::{
    backend::{Backend, DATABASE},
    nats::Nats,
    postgres::Filling,
    servers::ALL,
};

/// What archiving came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Archived {
    /// Events that waited in the stream when it began.
    pub waiting: usize,
    /// Until the last of them was acknowledged.
    pub seconds: f64,
    /// Messages a second that were then published.
    pub rate: f64,
    /// Events that waited, at each look; for as long as it was published.
    pub lag: Vec<u64>,
}

const FILLING: Filling = Filling { accounts: 1_000, rooms: 1_000, members: 10_000, messages: 1 };
const TEXT: usize = 100;
/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A publisher at a rate publishes this often.
const PUBLISH_EVERY: Duration = Duration::from_millis(20);
/// An archive this slow is not waited for.
const SLOWEST: f64 = 500.0;

/// Who writes where: rooms and members of the database, one after the other.
struct Writers {
    places: Vec<(RoomId, UserId)>,
    shards: Shards,
    next: usize,
}

impl Writers {
    fn of(backend: &Backend) -> anyhow::Result<Self> {
        let query =
            "SELECT room_id || ' ' || user_id FROM member ORDER BY md5(room_id::text || user_id)";
        let rows = backend.postgres.texts(DATABASE, query)?;
        let place = |row: &String| {
            let (room, user) = row.split_once(' ').context("two ids")?;
            Ok((room.parse()?, user.parse()?))
        };
        let places = rows.iter().map(place).collect::<anyhow::Result<Vec<_>>>()?;
        ensure!(!places.is_empty(), "nobody is in a room");
        Ok(Self { places, shards: Shards::new(1).context("one shard")?, next: 0 })
    }

    /// Subject and payload, as a gateway publishes them.
    fn message(&mut self) -> anyhow::Result<(String, Vec<u8>)> {
        let (room, id) = self.places[self.next % self.places.len()];
        self.next += 1;
        let message = Message {
            id: MessageId::generate(),
            from: Person { id, name: DisplayName::parse("member")? },
            msg: MessageText::parse(&format!("{:0>TEXT$}", self.next))?,
            at: Timestamp::now(),
            file: None,
            reply_to: None,
        };
        Ok((subject::stored(self.shards, room), StoredEvent::ReceiveMsg(message).encode()))
    }

    fn messages(&mut self, count: usize) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
        (0..count).map(|_| self.message()).collect()
    }
}

/// Publishes `waiting` events and times how fast they are archived; then publishes at `rate` for a
/// while and looks at how many wait.
pub fn archive(waiting: usize, rate: f64, during: Duration) -> anyhow::Result<Archived> {
    let mut backend = Backend::start(ALL, true, FILLING)?;
    let mut writers = Writers::of(&backend)?;
    let mut nats = Nats::connect(backend.nats(), "archive")?;
    let mut left = waiting;
    while left > 0 {
        let some = left.min(10_000);
        nats.publish(writers.messages(some)?)?;
        left -= some;
    }
    let before = stored(&backend)?;
    let began = Instant::now();
    backend.archive(ALL)?;
    while lag(&mut nats)? > 0 {
        let at_most = waiting as f64 / SLOWEST;
        ensure!(began.elapsed().as_secs_f64() < at_most, "archive is stuck");
        thread::sleep(LOOK_EVERY);
    }
    let seconds = began.elapsed().as_secs_f64();
    let moved = stored(&backend)? - before;
    ensure!(moved == waiting, "{moved} of {waiting} messages are in the database");
    let lag = follow(&mut nats, &mut writers, rate, during)?;
    Ok(Archived { waiting, seconds, rate, lag })
}

fn follow(
    nats: &mut Nats,
    writers: &mut Writers,
    rate: f64,
    during: Duration,
) -> anyhow::Result<Vec<u64>> {
    let began = Instant::now();
    let (mut published, mut lags) = (0, Vec::new());
    let mut look = LOOK_EVERY;
    while began.elapsed() < during {
        let due = (began.elapsed().as_secs_f64() * rate) as usize;
        nats.publish(writers.messages(due - published)?)?;
        published = due;
        if began.elapsed() >= look {
            lags.push(lag(nats)?);
            look += LOOK_EVERY;
        }
        thread::sleep(PUBLISH_EVERY);
    }
    Ok(lags)
}

/// Events that are not in the database yet.
fn lag(nats: &mut Nats) -> anyhow::Result<u64> {
    let stream = Shards::new(1).and_then(|shards| shards.all().next()).context("one shard")?;
    let info =
        nats.ask(&format!("{ARCHIVE_API}.CONSUMER.INFO.{}.{ARCHIVE_CONSUMER}", stream.stream()))?;
    let number = |name: &str| info[name].as_u64().with_context(|| format!("no {name} in {info}"));
    Ok(number("num_pending")? + number("num_ack_pending")?)
}

fn stored(backend: &Backend) -> anyhow::Result<usize> {
    let counts = backend.postgres.texts(DATABASE, "SELECT COUNT(*)::text FROM message")?;
    Ok(counts.first().context("a count")?.parse()?)
}
