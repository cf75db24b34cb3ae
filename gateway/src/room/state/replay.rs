//! Replays: the events that a rejoining socket missed, from the ring and, where the ring does not reach back
//! far enough, from the stream.

use bytes::Bytes;
use protocol::{Seq, limits, stored::Position};
use service::roomlog::LogError;
use tokio::time::{Duration, Instant};

use super::{Room, parse};
use crate::{
    batch::{Batch, BatchBuilder},
    memory::{Exhausted, Purpose},
    room::ring::Allowance,
};

/// The frames of missed events, as slices of batches. None if there are too many, or if they were purged.
pub type Missed = Option<Vec<Bytes>>;

/// Bytes of events read from the stream at once. A replay of one page may use the whole memory budget; a longer
/// replay only the share for replays.
pub const PAGE: usize = 256 * 1024;
/// Size of the batches that a replay adds to the ring, which drops whole batches.
const BATCH_BYTES: usize = 32 * 1024;
/// How long events read for one replay are kept for other replays: after an outage, clients rejoin within
/// seconds.
const WIDE_FOR: Duration = Duration::from_secs(10);

/// Why missed events cannot be read now.
pub enum MissedError {
    Log(LogError),
    NoMemory,
}

impl From<LogError> for MissedError {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

impl From<Exhausted> for MissedError {
    fn from(_: Exhausted) -> Self {
        Self::NoMemory
    }
}

/// Whether a read of the events after `after` was complete. `oldest_kept`, the purge mark, must be read after
/// the events: a purge sets the mark first, so events that it does not cover were not purged yet.
pub fn is_complete(after: Seq, oldest_kept: Seq) -> bool {
    oldest_kept <= after
}

impl Room {
    /// The events after `after`.
    pub async fn missed(&mut self, after: Seq) -> Result<Missed, MissedError> {
        if after > self.ring.last() {
            // The client received that event through another gateway before it connected to this one.
            self.catch_up().await;
        }
        if after > self.ring.last() {
            return Ok(None);
        }
        if let Some(frames) = self.ring.since(after) {
            return Ok(Some(frames));
        }
        let Some(older) = self.read_older(after).await? else { return Ok(None) };
        self.ring.extend_back(after, older);
        let frames = self.ring.since(after);
        self.wide_until = Some(Instant::now() + WIDE_FOR);
        self.ring.trim(self.allowance());
        Ok(frames)
    }

    /// How much the ring may keep now.
    pub fn allowance(&self) -> Allowance {
        Allowance::of(self.context.budget.pressure(), self.wide_until.is_some())
    }

    /// Reads the events before those in the ring from the stream, page by page. Memory is reserved for each
    /// page.
    async fn read_older(&mut self, after: Seq) -> Result<Option<Vec<Batch>>, MissedError> {
        let (log, budget) = (self.context.bus.log(), &self.context.budget);
        let until = self.ring.complete_since();
        let mut prev = match log.last_until(self.id, after).await? {
            Some(before) => before.seq,
            // The event at `after` was purged, or the room's first event is newer.
            None => log.oldest_kept(self.id).await?,
        };
        let (mut events, mut bytes) = (self.ring.events(), self.ring.bytes());
        let (mut batches, mut read_until) = (Vec::new(), after);
        while read_until < until {
            let purpose = if read_until == after { Purpose::Live } else { Purpose::Replay };
            // For the events and for their encoded frames.
            let _held = budget.try_reserve(2 * PAGE, purpose)?;
            let limit = (limits::REPLAY_EVENTS + 1).saturating_sub(events);
            let entries = log.page_after(self.id, read_until, limit, PAGE).await?;
            let Some(last) = entries.last() else { break };
            read_until = last.seq;
            let mut batch = BatchBuilder::default();
            for entry in entries.iter().filter(|entry| entry.seq <= until) {
                if let Some(event) = parse(self.id, entry.seq, &entry.payload) {
                    let position = Position { seq: entry.seq, prev };
                    batch.push(Some(entry.seq), &["42", &event.with_position(self.id, position)]);
                    prev = entry.seq;
                    events += 1;
                }
                if batch.size() >= BATCH_BYTES {
                    bytes += batch.size();
                    batches.extend(std::mem::take(&mut batch).build(budget));
                }
            }
            bytes += batch.size();
            batches.extend(batch.build(budget));
            if events > limits::REPLAY_EVENTS || bytes > limits::REPLAY_BYTES {
                return Ok(None);
            }
        }
        if !is_complete(after, log.oldest_kept(self.id).await?) {
            return Ok(None);
        }
        if prev != until {
            return Err(LogError::Unavailable("the stream's replica lags behind".into()).into());
        }
        Ok(Some(batches))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::is_complete;

    proptest! {
        /// The mark is set and the purge follows at any time: before, between or after the three reads, at the
        /// moments 1 (the event before), 2 (the events after) and 3 (the mark).
        #[test]
        fn a_complete_replay_has_every_event(
            gaps in prop::collection::vec(1..4_u32, 1..20),
            kept in any::<prop::sample::Index>(),
            after in 0..60_u32,
            marked in 1..5_u8,
            pause in 0..4_u8,
        ) {
            let all: Vec<u32> = gaps.iter().scan(0, |seq, gap| { *seq += gap; Some(*seq) }).collect();
            let kept = *kept.get(&all);
            let held = |moment: u8| -> Vec<u32> {
                let is_purged = marked + pause <= moment;
                all.iter().copied().filter(|seq| !is_purged || *seq >= kept).collect()
            };
            let newest_until = |seqs: &[u32]| seqs.iter().copied().filter(|seq| *seq <= after).max();
            let past = |seqs: &[u32]| -> Vec<u32> { seqs.iter().copied().filter(|seq| *seq > after).collect() };
            let (before, entries) = (newest_until(&held(1)), past(&held(2)));
            let oldest_kept = if marked <= 3 { kept } else { 0 };
            if is_complete(after.into(), oldest_kept.into()) {
                prop_assert_eq!(before, newest_until(&all));
                prop_assert_eq!(entries, past(&all));
            } else {
                prop_assert!(after < kept, "nothing that was asked for is gone");
            }
        }
    }
}
