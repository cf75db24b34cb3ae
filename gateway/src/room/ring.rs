//! A ring buffer of a room's newest events, in order and without a gap, for replays. Without I/O.

use std::collections::VecDeque;

use bytes::Bytes;
use protocol::{Seq, limits, stored::Position};

use crate::{batch::Batch, memory::Pressure};

/// The place of an event relative to the last delivered one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The event follows the last one.
    Next,
    /// The event was delivered before.
    Known,
    /// Events between the last one and this one are missing and must be fetched first.
    AfterGap,
}

/// Decides where an event belongs, if the last delivered one is at `last`. `prev` may be lower than `last`
/// after a purge: nothing is missing then, because sequences only grow. An event without `prev` in a room that
/// had events means that the stream purged them all; the purge marks show whether any is missing.
pub fn place(last: Seq, position: Position) -> Place {
    match position {
        Position { seq, .. } if seq <= last => Place::Known,
        Position { prev: Seq::ZERO, .. } if last > Seq::ZERO => Place::AfterGap,
        Position { prev, .. } if prev <= last => Place::Next,
        _ => Place::AfterGap,
    }
}

/// How much a ring may keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    events: usize,
    bytes: usize,
}

impl Allowance {
    /// Enough for a room's clients to rejoin after a gateway failed, without reading the stream. The ring of a
    /// very busy room is shorter than that, and its replays are read from the stream.
    const USUAL: Self = Self { events: limits::REPLAY_EVENTS, bytes: 512 * 1024 };
    /// While the process's memory is short: enough for clients that rejoin at once.
    const SHORT: Self = Self { events: limits::REPLAY_EVENTS, bytes: 16 * 1024 };
    /// While many clients rejoin that were away for longer: one read from the stream serves all of them.
    const WIDE: Self = Self { events: limits::REPLAY_EVENTS, bytes: limits::REPLAY_BYTES };

    /// The allowance under a memory pressure. `is_wide`: long replays were requested a moment ago.
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
    /// Encoded frames of all events with `complete_since < seq <= last`.
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

    /// The ring contains all events after this one.
    pub fn complete_since(&self) -> Seq {
        self.complete_since
    }

    /// The number of events.
    pub fn events(&self) -> usize {
        self.events
    }

    /// Bytes of their frames.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends events that follow the last one.
    pub fn push(&mut self, batch: Batch, allowance: Allowance) {
        let Some(last) = batch.last() else { return };
        debug_assert!(last > self.last);
        self.bytes += batch.size();
        self.events += batch.frames();
        self.batches.push_back(batch);
        self.last = last;
        self.trim(allowance);
    }

    /// The frames of all events after `after`; none if the ring does not reach back that far.
    pub fn since(&self, after: Seq) -> Option<Vec<Bytes>> {
        if after < self.complete_since || after > self.last {
            return None;
        }
        let is_before = |batch: &Batch| batch.last().is_none_or(|last| last <= after);
        let from = self.batches.partition_point(is_before);
        Some(self.batches.range(from..).map(|batch| batch.after(after)).collect())
    }

    /// Extends the ring backwards. `batches` contain all events after `after` up to [`Self::complete_since`],
    /// read from the stream. The caller must call [`Self::trim`] after using them.
    pub fn extend_back(&mut self, after: Seq, batches: Vec<Batch>) {
        for batch in batches.into_iter().rev() {
            self.bytes += batch.size();
            self.events += batch.frames();
            self.batches.push_front(batch);
        }
        self.complete_since = self.complete_since.min(after);
    }

    /// Drops the oldest events over the allowance.
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
        assert_eq!(place(5, 9, 0), Place::AfterGap);
        assert_eq!(place(0, 9, 0), Place::Next);
        assert_eq!(place(5, 9, 7), Place::AfterGap);
        assert_eq!(place(9, 9, 5), Place::Known);
        ring.push(batch(&[9]), Allowance::USUAL);
        assert!(ring.since(4.into()).is_none() && ring.since(10.into()).is_none());
        assert_eq!(ring.since(5.into()).unwrap().concat(), frames([9]));
        assert!(ring.since(9.into()).unwrap().is_empty());
    }

    #[test]
    fn the_oldest_events_are_dropped_and_no_longer_replayed() {
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
    fn the_allowance_depends_on_memory_pressure_and_recent_replays() {
        let size = |pressure, is_wide| Allowance::of(pressure, is_wide).bytes;
        assert!(size(Pressure::Low, true) >= limits::REPLAY_BYTES);
        assert!(size(Pressure::Low, false) > size(Pressure::Short, true));
        assert_eq!(size(Pressure::Exhausted, true), size(Pressure::Short, false));
    }

    proptest! {
        /// A replay contains exactly the events after the requested one, in whatever way the ring was filled.
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
