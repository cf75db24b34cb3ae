//! What a rejoining socket missed: from the ring, and from the stream what the ring no longer has.

use bytes::Bytes;
use protocol::{Seq, limits, stored::Position};
use service::roomlog::LogError;
use tokio::time::{Duration, Instant};

use super::{Room, parse, ring::Allowance};
use crate::{
    batch::{Batch, BatchBuilder},
    memory::{Exhausted, Purpose},
};

/// Frames, in parts of batches; none when they are too many or gone.
pub(super) type Missed = Option<Vec<Bytes>>;

/// Bytes of events that are read from the stream at once. A replay of one such page is granted like
/// any answer; a longer one only from the share of replays.
pub(super) const PAGE: usize = 256 * 1024;
/// Frames that the ring forgets together.
const BATCH_BYTES: usize = 32 * 1024;
/// A crowd that rejoins comes within seconds; what one of them had read from the stream is kept for
/// the others for so long.
const WIDE_FOR: Duration = Duration::from_secs(10);

/// Why it is not known, or not now, what was missed.
pub(super) enum MissedError {
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

/// Whether the events that were read after `after`, and the one before them, are all there were.
/// `oldest_kept` was read after them: what is purged is marked first, so what this does not tell
/// of was not purged yet.
pub(super) fn is_whole(after: Seq, oldest_kept: Seq) -> bool {
    oldest_kept <= after
}

impl Room {
    pub(super) async fn missed(&mut self, after: Seq) -> Result<Missed, MissedError> {
        if after > self.ring.last() {
            // The client heard of it through another gateway before this one did.
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

    /// What the ring may keep now.
    pub(super) fn allowance(&self) -> Allowance {
        Allowance::of(self.context.budget.pressure(), self.wide_until.is_some())
    }

    /// Reads from the stream what the ring no longer has, page by page, each of which must find memory.
    async fn read_older(&mut self, after: Seq) -> Result<Option<Vec<Batch>>, MissedError> {
        let (log, budget) = (self.context.bus.log(), &self.context.budget);
        let until = self.ring.complete_since();
        let mut prev = match log.last_until(self.id, after).await? {
            Some(before) => before.seq,
            // It was purged, or the room begins after that.
            None => log.oldest_kept(self.id).await?,
        };
        let (mut events, mut bytes) = (self.ring.events(), self.ring.bytes());
        let (mut batches, mut read_until) = (Vec::new(), after);
        while read_until < until {
            let purpose = if read_until == after { Purpose::Live } else { Purpose::Replay };
            // What is read, and the frames made of it.
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
        if !is_whole(after, log.oldest_kept(self.id).await?) {
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

    use super::is_whole;

    proptest! {
        /// Whenever the mark is set, and whenever the purge follows: before, between or after what is
        /// read at the moments 1 (the event before), 2 (those after) and 3 (the mark).
        #[test]
        fn a_replay_that_counts_as_whole_lacks_nothing(
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
            if is_whole(after.into(), oldest_kept.into()) {
                prop_assert_eq!(before, newest_until(&all));
                prop_assert_eq!(entries, past(&all));
            } else {
                prop_assert!(after < kept, "nothing that was asked for is gone");
            }
        }
    }
}
