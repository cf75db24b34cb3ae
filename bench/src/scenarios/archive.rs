//! Throughput of `archive --follow` with a backlog, and its lag at a constant rate.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use protocol::{
    DisplayName, MessageId, MessageText, RoomId, Timestamp, UserId,
    stored::{Message, Person, StoredEvent},
    subject::{self, ARCHIVE_CONSUMER, JETSTREAM_API, Shards},
};
use serde::{Deserialize, Serialize};

use crate::{
    backend::{Backend, DATABASE},
    nats::Nats,
    postgres::DatabaseSize,
    servers::ALL,
};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ArchiveSpeed {
    /// Backlog at the start.
    pub waiting: usize,
    /// Time until the backlog was acknowledged.
    pub seconds: f64,
    /// Messages per second that were published afterwards.
    pub rate: f64,
    /// Number of unarchived events, measured at regular intervals while messages were published.
    pub lag: Vec<u64>,
}

const SIZE: DatabaseSize =
    DatabaseSize { accounts: 1_000, rooms: 1_000, members: 10_000, messages: 1 };
const TEXT_CHARS: usize = 100;
const LAG_INTERVAL: Duration = Duration::from_millis(100);
const PUBLISH_INTERVAL: Duration = Duration::from_millis(20);
/// Events per second below which the run fails.
const MIN_RATE: f64 = 500.0;

/// Generates messages of all members of the database, one after the other.
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
        ensure!(!places.is_empty(), "no room has a member");
        Ok(Self { places, shards: Shards::new(1).context("one shard")?, next: 0 })
    }

    /// Subject and payload in the format of a gateway.
    fn message(&mut self) -> anyhow::Result<(String, Vec<u8>)> {
        let (room, id) = self.places[self.next % self.places.len()];
        self.next += 1;
        let message = Message {
            id: MessageId::generate(),
            from: Person { id, name: DisplayName::parse("member")? },
            msg: MessageText::parse(&format!("{:0>TEXT_CHARS$}", self.next))?,
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

/// Publishes `waiting` events and measures how fast they are archived, then publishes at `rate` and measures the lag.
pub fn archive(waiting: usize, rate: f64, during: Duration) -> anyhow::Result<ArchiveSpeed> {
    let mut backend = Backend::start(ALL, true, SIZE)?;
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
    backend.start_archive(ALL)?;
    while lag(&mut nats)? > 0 {
        let at_most = waiting as f64 / MIN_RATE;
        ensure!(began.elapsed().as_secs_f64() < at_most, "the archive is too slow");
        thread::sleep(LAG_INTERVAL);
    }
    let seconds = began.elapsed().as_secs_f64();
    let archived = stored(&backend)? - before;
    ensure!(archived == waiting, "{archived} of {waiting} messages are in the database");
    let lag = measure_lag(&mut nats, &mut writers, rate, during)?;
    Ok(ArchiveSpeed { waiting, seconds, rate, lag })
}

fn measure_lag(
    nats: &mut Nats,
    writers: &mut Writers,
    rate: f64,
    during: Duration,
) -> anyhow::Result<Vec<u64>> {
    let began = Instant::now();
    let (mut published, mut lags) = (0, Vec::new());
    let mut next_reading = LAG_INTERVAL;
    while began.elapsed() < during {
        let due = (began.elapsed().as_secs_f64() * rate) as usize;
        nats.publish(writers.messages(due - published)?)?;
        published = due;
        if began.elapsed() >= next_reading {
            lags.push(lag(nats)?);
            next_reading += LAG_INTERVAL;
        }
        thread::sleep(PUBLISH_INTERVAL);
    }
    Ok(lags)
}

/// Number of events that are not in the database yet.
fn lag(nats: &mut Nats) -> anyhow::Result<u64> {
    let stream = Shards::new(1).and_then(|shards| shards.all().next()).context("one shard")?;
    let info = nats.request(&format!(
        "{JETSTREAM_API}.CONSUMER.INFO.{}.{ARCHIVE_CONSUMER}",
        stream.stream()
    ))?;
    let number = |name: &str| info[name].as_u64().with_context(|| format!("no {name} in {info}"));
    Ok(number("num_pending")? + number("num_ack_pending")?)
}

/// Number of messages in the database.
fn stored(backend: &Backend) -> anyhow::Result<usize> {
    let counts = backend.postgres.texts(DATABASE, "SELECT COUNT(*)::text FROM message")?;
    Ok(counts.first().context("a count")?.parse()?)
}
