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

/// Whether the events that were read after `after`, and the one before them, are all there were.
/// `oldest_kept` was read after them: what is purged is marked first, so what this does not tell
/// of was not purged yet.
pub(super) fn is_whole(after: u64, oldest_kept: u64) -> bool {
    oldest_kept <= after
}

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
        let before = log.last_until(self.id, after).await?;
        let entries = log.after(self.id, after, limits::REPLAY_EVENTS + 1).await?;
        if !is_whole(after, log.oldest_kept(self.id).await?) {
            return Ok(None);
        }
        let mut prev = before.map_or(0, |entry| entry.seq);
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::is_whole;

    proptest! {
        /// Whenever the mark is set, and whenever the purge follows: before, between or after what is
        /// read at the moments 1 (the event before), 2 (those after) and 3 (the mark).
        #[test]
        fn a_replay_that_counts_as_whole_lacks_nothing(
            gaps in prop::collection::vec(1..4_u64, 1..20),
            kept in any::<prop::sample::Index>(),
            after in 0..60_u64,
            marked in 1..5_u8,
            pause in 0..4_u8,
        ) {
            let all: Vec<u64> = gaps.iter().scan(0, |seq, gap| { *seq += gap; Some(*seq) }).collect();
            let kept = *kept.get(&all);
            let held = |moment: u8| -> Vec<u64> {
                let is_purged = marked + pause <= moment;
                all.iter().copied().filter(|seq| !is_purged || *seq >= kept).collect()
            };
            let newest_until = |seqs: &[u64]| seqs.iter().copied().filter(|seq| *seq <= after).max();
            let past = |seqs: &[u64]| -> Vec<u64> { seqs.iter().copied().filter(|seq| *seq > after).collect() };
            let (before, entries) = (newest_until(&held(1)), past(&held(2)));
            let oldest_kept = if marked <= 3 { kept } else { 0 };
            if is_whole(after, oldest_kept) {
                prop_assert_eq!(before, newest_until(&all));
                prop_assert_eq!(entries, past(&all));
            } else {
                prop_assert!(after < kept, "nothing that was asked for is gone");
            }
        }
    }
}
