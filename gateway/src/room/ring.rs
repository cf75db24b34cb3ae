//! A room's newest events, in order and without a gap: what is delivered, and what a rejoin replays.
//! Pure: it says what to fetch and never fetches.

use std::collections::VecDeque;

use bytes::Bytes;
use protocol::{Seq, limits, stored::Position};

use crate::{batch::Batch, memory::Pressure};

/// What to do with an event that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It follows the last one.
    Next,
    /// It was delivered already.
    Known,
    /// Events between the last one and this one are missing and must be fetched first.
    AfterHole,
}

/// Where an event belongs after the one at `last`. `prev` may lie before that one when the stream
/// was purged; an event between them cannot be missing, as sequences only grow. An event without a
/// `prev` in a room that had one comes from a stream that no longer has it: whether something between
/// was lost, the stream's marks say.
pub fn place(last: Seq, position: Position) -> Place {
    match position {
        Position { seq, .. } if seq <= last => Place::Known,
        Position { prev: Seq::ZERO, .. } if last > Seq::ZERO => Place::AfterHole,
        Position { prev, .. } if prev <= last => Place::Next,
        _ => Place::AfterHole,
    }
}

/// How much a ring keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    events: usize,
    bytes: usize,
}

impl Allowance {
    /// Enough for every client of a room to rejoin after a gateway's death without a read from
    /// JetStream; a busier room falls back on the stream.
    const USUAL: Self = Self { events: limits::REPLAY_EVENTS, bytes: 512 * 1024 };
    /// While the process's memory is short: who is back at once still finds what was missed.
    const SHORT: Self = Self { events: limits::REPLAY_EVENTS, bytes: 16 * 1024 };
    /// While a crowd rejoins that was away for longer: what one read from the stream, all share.
    const WIDE: Self = Self { events: limits::REPLAY_EVENTS, bytes: limits::REPLAY_BYTES };

    /// By how short memory is, and whether long replays were asked for a moment ago.
    pub fn of(pressure: Pressure, is_wide: bool) -> Self {
        match pressure {
            Pressure::Low if is_wide => Self::WIDE,
            Pressure::Low => Self::USUAL,
            Pressure::Short | Pressure::High | Pressure::Exhausted => Self::SHORT,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Ring {
    /// Encoded frames of the events `complete_since < seq <= last`, all of them.
    batches: VecDeque<Batch>,
    bytes: usize,
    events: usize,
    complete_since: Seq,
    last: Seq,
}

impl Ring {
    /// A room whose newest event is `head` ([`Seq::ZERO`] for none).
    pub fn new(head: Seq) -> Self {
        Self { batches: VecDeque::new(), bytes: 0, events: 0, complete_since: head, last: head }
    }

    /// The seq of the newest event.
    pub fn last(&self) -> Seq {
        self.last
    }

    /// All events after this one are here.
    pub fn complete_since(&self) -> Seq {
        self.complete_since
    }

    /// How many events are here.
    pub fn events(&self) -> usize {
        self.events
    }

    /// Bytes of their frames.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends the stored events that follow the last one.
    pub fn push(&mut self, batch: Batch, allowance: Allowance) {
        let Some(last) = batch.last() else { return };
        debug_assert!(last > self.last);
        self.bytes += batch.size();
        self.events += batch.frames();
        self.batches.push_back(batch);
        self.last = last;
        self.trim(allowance);
    }

    /// The frames of all events after `after`, or none when the ring does not reach back that far.
    pub fn since(&self, after: Seq) -> Option<Vec<Bytes>> {
        if after < self.complete_since || after > self.last {
            return None;
        }
        let is_before = |batch: &Batch| batch.last().is_none_or(|last| last <= after);
        let from = self.batches.partition_point(is_before);
        Some(self.batches.range(from..).map(|batch| batch.after(after)).collect())
    }

    /// Reaches further back: `batches` are all events after `after` up to what the ring is complete
    /// since, as read from the stream. Call [`Self::trim`] once they were used.
    pub fn extend_back(&mut self, after: Seq, batches: Vec<Batch>) {
        for batch in batches.into_iter().rev() {
            self.bytes += batch.size();
            self.events += batch.frames();
            self.batches.push_front(batch);
        }
        self.complete_since = self.complete_since.min(after);
    }

    /// Forgets the oldest events past the allowance.
    pub fn trim(&mut self, allowance: Allowance) {
        while self.events > allowance.events || self.bytes > allowance.bytes {
            let Some(batch) = self.batches.pop_front() else { return };
            self.bytes -= batch.size();
            self.events -= batch.frames();
            self.complete_since = batch.last().unwrap_or(self.complete_since);
        }
        if self.batches.is_empty() {
            self.batches = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{batch::BatchBuilder, memory::Budget, wire::ws};

    fn batch(seqs: &[u32]) -> Batch {
        let mut builder = BatchBuilder::default();
        seqs.iter().for_each(|seq| builder.push(Some((*seq).into()), &[&seq.to_string()]));
        builder.build(&Budget::new(usize::MAX)).unwrap()
    }

    fn frames(seqs: impl IntoIterator<Item = u32>) -> Vec<u8> {
        seqs.into_iter().flat_map(|seq| ws::text(&[&seq.to_string()])).collect()
    }

    #[test]
    fn an_event_is_placed_by_its_predecessor() {
        let mut ring = Ring::new(5.into());
        let place = |last: u32, seq: u32, prev: u32| {
            place(last.into(), Position { seq: seq.into(), prev: prev.into() })
        };
        assert_eq!(place(5, 9, 5), Place::Next);
        assert_eq!(place(5, 9, 3), Place::Next);
        assert_eq!(place(5, 9, 0), Place::AfterHole);
        assert_eq!(place(0, 9, 0), Place::Next);
        assert_eq!(place(5, 9, 7), Place::AfterHole);
        assert_eq!(place(9, 9, 5), Place::Known);
        ring.push(batch(&[9]), Allowance::USUAL);
        assert!(ring.since(4.into()).is_none() && ring.since(10.into()).is_none());
        assert_eq!(ring.since(5.into()).unwrap().concat(), frames([9]));
        assert!(ring.since(9.into()).unwrap().is_empty());
    }

    #[test]
    fn it_forgets_the_oldest_and_knows_that_it_did() {
        let mut ring = Ring::new(Seq::ZERO);
        let newest = limits::REPLAY_EVENTS as u32 + 7;
        (1..=newest).for_each(|seq| ring.push(batch(&[seq]), Allowance::USUAL));
        assert!(ring.since(6.into()).is_none());
        assert_eq!(ring.since(7.into()).unwrap().len(), limits::REPLAY_EVENTS);
        let mut huge = BatchBuilder::default();
        huge.push(Some(Seq::from(newest + 1)), &[&"x".repeat(Allowance::USUAL.bytes)]);
        ring.push(huge.build(&Budget::new(usize::MAX)).unwrap(), Allowance::USUAL);
        assert!(ring.since(newest.into()).is_none());
        assert_eq!((ring.last(), ring.bytes(), ring.events()), ((newest + 1).into(), 0, 0));
    }

    #[test]
    fn it_keeps_less_while_memory_is_short_and_more_while_a_crowd_rejoins() {
        let size = |pressure, is_wide| Allowance::of(pressure, is_wide).bytes;
        assert!(size(Pressure::Low, true) >= limits::REPLAY_BYTES);
        assert!(size(Pressure::Low, false) > size(Pressure::Short, true));
        assert_eq!(size(Pressure::Exhausted, true), size(Pressure::Short, false));
    }

    proptest! {
        /// However it was filled, a replay is exactly the events after the one asked for.
        #[test]
        fn a_replay_is_exact(
            gaps in prop::collection::vec(1..5_u32, 1..60),
            open_at in 0..60_usize,
            back in 0..60_usize,
            after in 0..200_u32,
            size in 1..7_usize,
            kept in 0..400_usize,
        ) {
            let seqs: Vec<u32> = gaps.iter().scan(0, |seq, gap| { *seq += gap; Some(*seq) }).collect();
            let open_at = open_at.min(seqs.len());
            let head = open_at.checked_sub(1).map_or(0, |i| seqs[i]);
            let mut ring = Ring::new(head.into());
            let allowance = Allowance { events: 1_000, bytes: kept };
            for seqs in seqs[open_at..].chunks(size) { ring.push(batch(seqs), Allowance::USUAL); }
            ring.trim(allowance);
            let back = back.min(open_at);
            let back_seq = back.checked_sub(1).map_or(0, |i| seqs[i]);
            let until = ring.complete_since().get();
            let missing: Vec<u32> = seqs[back..].iter().copied().filter(|seq| u64::from(*seq) <= until).collect();
            ring.extend_back(back_seq.into(), missing.chunks(size).map(batch).collect());
            let newest = *seqs.last().unwrap();
            let expected = |after: Seq| frames(seqs.iter().copied().filter(|seq| Seq::from(*seq) > after));
            match ring.since(after.into()) {
                Some(replay) => prop_assert_eq!(replay.concat(), expected(after.into())),
                None => prop_assert!(after < back_seq || after > newest),
            }
            ring.trim(allowance);
            prop_assert!(ring.bytes() <= kept);
            let since = ring.complete_since();
            prop_assert_eq!(ring.since(since).unwrap().concat(), expected(since));
            prop_assert_eq!(ring.bytes(), expected(since).len());
        }
    }
}
