//! Joining a room: what was missed first, then what comes.

use bytes::Bytes;
use protocol::{
    Code,
    code::Refusal,
    event::{Done, Joined},
    limits,
    stored::{Person, Position},
};
use service::roomlog::LogError;

use super::{Room, parse};
use crate::{
    shard::{Command as ShardCommand, SocketRef},
    ws,
};

/// The frames that a rejoining socket missed; none when they are too many or gone.
type Missed = Option<Vec<Bytes>>;

impl Room {
    /// Takes a socket in. All between here and the answer runs while no event is delivered, so the
    /// replay ends where the live events begin.
    pub(super) async fn join(
        &mut self,
        socket: SocketRef,
        person: Person,
        after: Option<u64>,
        ack: Option<u64>,
    ) {
        let missed = match after {
            Some(after) => self.missed(after).await,
            None => Ok(Some(Vec::new())),
        };
        let missed = match missed {
            Ok(missed) => missed,
            Err(error) => {
                tracing::warn!(room = %self.id, %error, "missed events cannot be read");
                let refusal =
                    Refusal::new(Code::Unavailable, "missed events cannot be read now; try again");
                let command =
                    ShardCommand::NotJoined { socket: socket.id, room: self.id, ack, refusal };
                return self.context.shards.send(socket.shard, command).await;
            }
        };
        self.sockets[socket.shard] += 1;
        self.end_at = None;
        let user = person.id;
        self.presence.enter(person);
        let recovered = missed.is_some();
        let replay = missed.unwrap_or_default();
        if after.is_some() {
            metrics::counter!("gateway_replays_total", "recovered" => recovered.to_string())
                .increment(1);
        }
        let done = Done::Joined(Joined {
            head: self.ring.last(),
            online: self.presence.online(),
            recovered,
        });
        let command = ShardCommand::Joined {
            socket: socket.id,
            room: self.id,
            user,
            last: self.ring.last(),
            replay,
            ack,
            done,
        };
        self.context.shards.send(socket.shard, command).await;
    }

    async fn missed(&mut self, after: u64) -> Result<Missed, LogError> {
        if after > self.ring.last() {
            // The client heard of it through another gateway before this one did.
            self.catch_up().await;
        }
        if after > self.ring.last() {
            return Ok(None);
        }
        if let Some(frames) = self.ring.since(after) {
            return Ok(Some(frames.cloned().collect()));
        }
        self.missed_in_stream(after).await
    }

    /// Reads from the stream what the ring no longer has, and keeps it for the next one who asks.
    async fn missed_in_stream(&mut self, after: u64) -> Result<Missed, LogError> {
        let log = self.context.bus.log();
        let before = log.last_until(self.id, after).await?.map(|entry| entry.seq);
        if before.is_none() && log.first_seq(self.id).await? > after + 1 {
            // Whatever followed may have been purged.
            return Ok(None);
        }
        let entries = log.after(self.id, after, limits::REPLAY_EVENTS + 1).await?;
        let mut prev = before.unwrap_or(0);
        let mut events: Vec<(u64, Bytes)> = Vec::with_capacity(entries.len());
        for entry in entries.iter().filter(|entry| entry.seq <= self.ring.last()) {
            if let Some(event) = parse(self.id, entry.seq, &entry.payload) {
                let position = Position { seq: entry.seq, prev };
                let frame = ws::text(&["42", &event.with_position(self.id, position)]);
                events.push((entry.seq, frame));
                prev = entry.seq;
            }
        }
        let bytes: usize = events.iter().map(|(_, frame)| frame.len()).sum();
        if events.len() > limits::REPLAY_EVENTS || bytes > limits::REPLAY_BYTES {
            return Ok(None);
        }
        if prev != self.ring.last() {
            return Err(LogError::Unavailable("the stream's replica lags behind".into()));
        }
        self.ring.extend_back(after, &events);
        Ok(Some(events.into_iter().map(|(_, frame)| frame).collect()))
    }
}
