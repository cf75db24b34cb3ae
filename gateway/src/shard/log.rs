//! What a room's sockets on one shard have yet to be written: the frames once, and for each socket
//! how far it is. A delivery costs no queue entry, no copy and no wake-up.

use std::{collections::VecDeque, sync::Arc};

use bytes::{Bytes, BytesMut};

use crate::{
    memory::{Budget, Pressure},
    ws,
};

/// Bytes that the slowest socket of a room may be behind before it is told `lag`: a second of a very
/// busy room, minutes of a usual one. Less where the process's memory is short.
const fn may_be_behind(pressure: Pressure) -> u64 {
    match pressure {
        Pressure::Low => 1024 * 1024,
        Pressure::Short => 256 * 1024,
        Pressure::High => 32 * 1024,
        Pressure::Exhausted => 0,
    }
}

/// What a batch costs besides its frames: its entries in logs and rings, the allocations' own.
const OVERHEAD: usize = 192;

/// Encoded frames, one behind the other in memory, so that many of them leave as one slice.
#[derive(Debug, Clone)]
pub struct Batch {
    bytes: Bytes,
    cuts: Arc<[Cut]>,
}

/// Where a frame of a batch ends.
#[derive(Debug, Clone, Copy)]
struct Cut {
    end: usize,
    /// The event's place in the room; none for what is not stored.
    seq: Option<u64>,
}

/// Encodes frames into a batch.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    bytes: BytesMut,
    cuts: Vec<Cut>,
}

impl BatchBuilder {
    /// Appends a text, put together from parts.
    pub fn push(&mut self, seq: Option<u64>, text: &[&str]) {
        ws::put_text(&mut self.bytes, text);
        self.cuts.push(Cut { end: self.bytes.len(), seq });
    }

    /// The seq of the last stored event in it.
    pub fn last(&self) -> Option<u64> {
        self.cuts.iter().rev().find_map(|cut| cut.seq)
    }

    /// Bytes of the frames in it.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The batch, unless it is empty. Its memory counts for `budget` until the last one lets go of
    /// it.
    pub fn build(self, budget: &Budget) -> Option<Batch> {
        let Self { bytes, cuts } = self;
        if cuts.is_empty() {
            return None;
        }
        let held = budget.charge(bytes.capacity() + cuts.len() * size_of::<Cut>() + OVERHEAD);
        Some(Batch { bytes: held.hold(bytes.freeze()), cuts: cuts.into() })
    }
}

impl Batch {
    /// Frames in it.
    pub fn frames(&self) -> usize {
        self.cuts.len()
    }

    /// Bytes of the frames.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The seq of the last stored event in it.
    pub fn last(&self) -> Option<u64> {
        self.cuts.iter().rev().find_map(|cut| cut.seq)
    }

    /// The frames behind that of the event at `seq`, in one piece. Of a batch of stored events.
    pub fn after(&self, seq: u64) -> Bytes {
        let before = self.cuts.partition_point(|cut| cut.seq.is_none_or(|at| at <= seq));
        let start = before.checked_sub(1).map_or(0, |last| self.cuts[last].end);
        self.bytes.slice(start..)
    }
}

/// How many bytes of the log a socket has taken, counted from the log's beginning. Always at the
/// end of a frame: of one that is partly written, the rest is the socket's own to write.
pub type Cursor = u64;

/// See the module.
#[derive(Debug)]
pub struct FrameLog {
    /// Each with the cursor at its beginning.
    batches: VecDeque<(Cursor, Batch)>,
    end: Cursor,
    /// The newest seq before the first batch held.
    seq_before: u64,
}

impl FrameLog {
    /// An empty log of a room whose newest event is `last`.
    pub fn new(last: u64) -> Self {
        Self { batches: VecDeque::new(), end: 0, seq_before: last }
    }

    /// The cursor of a socket that has everything.
    pub fn end(&self) -> Cursor {
        self.end
    }

    /// Appends frames for all.
    pub fn push(&mut self, batch: Batch) {
        let start = self.end;
        self.end += batch.bytes.len() as u64;
        self.batches.push_back((start, batch));
    }

    /// What a socket at `cursor` has yet to be written.
    pub fn after(&self, cursor: Cursor) -> impl Iterator<Item = &[u8]> {
        self.batches_after(cursor).map(|(at, bytes)| &bytes[at..])
    }

    /// The same, to outlive the log.
    pub fn shared_after(&self, cursor: Cursor) -> impl Iterator<Item = Bytes> {
        self.batches_after(cursor).map(|(at, bytes)| bytes.slice(at..))
    }

    fn batches_after(&self, cursor: Cursor) -> impl Iterator<Item = (usize, &Bytes)> {
        let first = self.batches.partition_point(|(start, batch)| batch.end(*start) <= cursor);
        let at = move |start: Cursor| usize::try_from(cursor.saturating_sub(start)).unwrap_or(0);
        self.batches.range(first..).map(move |(start, batch)| (at(*start), &batch.bytes))
    }

    /// What is left of the frame that `cursor` is in the middle of.
    pub fn rest_of_frame(&self, cursor: Cursor) -> Option<Bytes> {
        let first = self.batches.partition_point(|(start, batch)| batch.end(*start) <= cursor);
        let (start, batch) = self.batches.get(first)?;
        let at = usize::try_from(cursor.checked_sub(*start)?).ok()?;
        let cut = batch.cuts.partition_point(|cut| cut.end <= at);
        let begins = cut.checked_sub(1).map_or(0, |before| batch.cuts[before].end);
        (at > begins).then(|| batch.bytes.slice(at..batch.cuts[cut].end))
    }

    /// The newest seq that a socket at `cursor` was written.
    pub fn seq_at(&self, cursor: Cursor) -> u64 {
        let taken = self.batches.iter().rev().flat_map(|(start, batch)| {
            batch.cuts.iter().rev().filter(move |cut| start + cut.end as u64 <= cursor)
        });
        taken.filter_map(|cut| cut.seq).next().unwrap_or(self.seq_before)
    }

    /// The newest seq of all.
    pub fn newest(&self) -> u64 {
        self.seq_at(self.end)
    }

    /// Forgets what all have taken: every socket is at `slowest` or further.
    pub fn trim(&mut self, slowest: Cursor) {
        while let Some((start, batch)) = self.batches.front()
            && batch.end(*start) <= slowest
        {
            self.seq_before = batch.last().unwrap_or(self.seq_before);
            self.batches.pop_front();
        }
        if self.batches.is_empty() {
            // An idle room holds no memory for its busy past.
            self.batches = VecDeque::new();
        }
    }

    /// Where sockets must at least be for the log to be within its bound.
    pub fn bound(&self, pressure: Pressure) -> Cursor {
        self.end.saturating_sub(may_be_behind(pressure))
    }
}

impl Batch {
    fn end(&self, start: Cursor) -> Cursor {
        start + self.bytes.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn batch(frames: &[(Option<u64>, usize)]) -> Batch {
        let mut builder = BatchBuilder::default();
        frames.iter().for_each(|(seq, size)| builder.push(*seq, &[&"x".repeat(*size)]));
        builder.build(&Budget::new(usize::MAX)).unwrap()
    }

    #[test]
    fn a_socket_takes_frames_in_order_and_knows_its_last_seq() {
        let mut log = FrameLog::new(4);
        assert_eq!(log.seq_at(log.end()), 4);
        log.push(batch(&[(None, 1), (Some(7), 1)]));
        log.push(batch(&[(None, 1)]));
        // A frame of one character is three bytes.
        assert_eq!([0, 3, 6, 9].map(|cursor| log.seq_at(cursor)), [4, 4, 7, 7]);
        assert_eq!(log.after(3).collect::<Vec<_>>(), [b"\x81\x01x", b"\x81\x01x"]);
        log.trim(6);
        assert_eq!((log.seq_at(6), log.after(6).count()), (7, 1));
        log.trim(9);
        assert_eq!((log.end(), log.seq_at(9), log.after(9).count()), (9, 7, 0));
    }

    #[test]
    fn its_bound_moves_only_when_it_is_too_big() {
        let mut log = FrameLog::new(0);
        log.push(batch(&[(Some(1), 60_000)]));
        assert_eq!(log.bound(Pressure::Low), 0);
        (2..20).for_each(|seq| log.push(batch(&[(Some(seq), 60_000)])));
        assert_eq!(log.bound(Pressure::Low), log.end() - 1024 * 1024);
        assert_eq!(log.bound(Pressure::Exhausted), log.end());
    }

    #[test]
    fn its_memory_counts_as_long_as_anybody_has_a_part_of_it() {
        let budget = Budget::new(1_000_000);
        let mut builder = BatchBuilder::default();
        (1..=3).for_each(|seq| builder.push(Some(seq), &["hello"]));
        let batch = builder.build(&budget).unwrap();
        assert!(budget.used() >= batch.size());
        let (copy, part) = (batch.clone(), batch.after(2));
        assert_eq!(part, b"\x81\x05hello"[..]);
        drop((batch, copy));
        assert!(budget.used() > 0);
        drop(part);
        assert_eq!(budget.used(), 0);
    }

    proptest! {
        /// However the network cuts it, what a socket is written is what was pushed.
        #[test]
        fn nothing_is_lost_or_doubled_by_partial_writes(
            sizes in prop::collection::vec(prop::collection::vec(0..300_usize, 1..6), 1..6),
            writes in prop::collection::vec(1..500_usize, 1..80),
        ) {
            let mut log = FrameLog::new(0);
            let mut expected = Vec::new();
            for frames in &sizes {
                let batch = batch(&frames.iter().map(|size| (Some(1), *size)).collect::<Vec<_>>());
                expected.extend_from_slice(&batch.bytes);
                log.push(batch);
            }
            let (mut cursor, mut written) = (0, Vec::new());
            for size in writes {
                let ready: Vec<u8> = log.after(cursor).flatten().copied().take(size).collect();
                cursor += ready.len() as u64;
                written.extend_from_slice(&ready);
                if let Some(rest) = log.rest_of_frame(cursor) {
                    cursor += rest.len() as u64;
                    written.extend_from_slice(&rest);
                }
                prop_assert!(log.rest_of_frame(cursor).is_none());
                log.trim(cursor);
            }
            log.after(cursor).for_each(|rest| written.extend_from_slice(rest));
            prop_assert_eq!(written, expected);
        }
    }
}
