//! The frame log: frames that still have to be sent to some of a room's sockets on one worker. It holds each
//! frame once, and each socket has a cursor into it, so a delivery needs no queue entry, copy or wake-up per
//! socket.

use std::collections::VecDeque;

use bytes::Bytes;
use protocol::Seq;

use crate::{batch::Batch, memory::Pressure};

/// Bytes by which a room's slowest socket may be behind before it gets `lag`: one second of a very busy room,
/// minutes of an ordinary one. The bound shrinks as the process's memory runs short.
const fn max_backlog(pressure: Pressure) -> u64 {
    match pressure {
        Pressure::Low => 1024 * 1024,
        Pressure::Short => 256 * 1024,
        Pressure::High => 32 * 1024,
        Pressure::Exhausted => 0,
    }
}

/// A position in the log: the number of bytes before it, counted from the log's beginning. A socket's cursor is
/// always at a frame boundary, because the rest of a partly written frame moves to its outbox.
pub type Cursor = u64;

/// See the module.
#[derive(Debug)]
pub struct FrameLog {
    /// Each batch with the cursor of its first byte.
    batches: VecDeque<(Cursor, Batch)>,
    end: Cursor,
    /// The newest seq before the first batch in the log.
    seq_before: Seq,
}

fn end_of(start: Cursor, batch: &Batch) -> Cursor {
    start + batch.size() as u64
}

impl FrameLog {
    /// An empty log of a room whose newest event is `last`.
    pub fn new(last: Seq) -> Self {
        Self { batches: VecDeque::new(), end: 0, seq_before: last }
    }

    /// The cursor after the last frame.
    pub fn end(&self) -> Cursor {
        self.end
    }

    /// Appends frames for all sockets.
    pub fn push(&mut self, batch: Batch) {
        let start = self.end;
        self.end = end_of(start, &batch);
        self.batches.push_back((start, batch));
    }

    /// The bytes after `cursor`.
    pub fn after(&self, cursor: Cursor) -> impl Iterator<Item = &[u8]> {
        self.batches_after(cursor).map(|(at, bytes)| &bytes[at..])
    }

    /// The bytes after `cursor`, as handles that outlive the log.
    pub fn shared_after(&self, cursor: Cursor) -> impl Iterator<Item = Bytes> {
        self.batches_after(cursor).map(|(at, bytes)| bytes.slice(at..))
    }

    fn batches_after(&self, cursor: Cursor) -> impl Iterator<Item = (usize, &Bytes)> {
        let at = move |start: Cursor| usize::try_from(cursor.saturating_sub(start)).unwrap_or(0);
        self.batches
            .range(self.first_after(cursor)..)
            .map(move |(start, batch)| (at(*start), batch.bytes()))
    }

    /// The index of the first batch that is not wholly before `cursor`.
    fn first_after(&self, cursor: Cursor) -> usize {
        self.batches.partition_point(|(start, batch)| end_of(*start, batch) <= cursor)
    }

    /// The rest of the frame that contains the byte at `cursor`; none at a frame boundary.
    pub fn rest_of_frame(&self, cursor: Cursor) -> Option<Bytes> {
        let (start, batch) = self.batches.get(self.first_after(cursor))?;
        batch.rest_of_frame(usize::try_from(cursor.checked_sub(*start)?).ok()?)
    }

    /// The newest seq before `cursor`.
    pub fn seq_at(&self, cursor: Cursor) -> Seq {
        let mut batches = self.batches.iter().rev();
        batches
            .find_map(|(start, batch)| {
                let taken = usize::try_from(cursor.saturating_sub(*start)).unwrap_or(usize::MAX);
                batch.last_until(taken)
            })
            .unwrap_or(self.seq_before)
    }

    /// The newest seq in the log.
    pub fn newest(&self) -> Seq {
        self.seq_at(self.end)
    }

    /// Drops the batches before `slowest`, the cursor of the slowest socket.
    pub fn trim(&mut self, slowest: Cursor) {
        while let Some((start, batch)) = self.batches.front()
            && end_of(*start, batch) <= slowest
        {
            self.seq_before = batch.last().unwrap_or(self.seq_before);
            self.batches.pop_front();
        }
        if self.batches.is_empty() {
            // Frees the capacity of a busy time.
            self.batches = VecDeque::new();
        }
    }

    /// The cursor that sockets must have reached for the log to be within its bound.
    pub fn bound(&self, pressure: Pressure) -> Cursor {
        self.end.saturating_sub(max_backlog(pressure))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{batch::BatchBuilder, memory::Budget};

    fn batch(frames: &[(Option<u32>, usize)]) -> Batch {
        let mut builder = BatchBuilder::default();
        frames
            .iter()
            .for_each(|(seq, size)| builder.push(seq.map(Seq::from), &[&"x".repeat(*size)]));
        builder.build(&Budget::new(usize::MAX)).unwrap()
    }

    #[test]
    fn a_cursor_reads_frames_in_order_and_has_a_last_seq() {
        let mut log = FrameLog::new(4.into());
        assert_eq!(log.seq_at(log.end()), 4.into());
        log.push(batch(&[(None, 1), (Some(7), 1)]));
        log.push(batch(&[(None, 1)]));
        // A frame of one character is three bytes.
        assert_eq!([0, 3, 6, 9].map(|cursor| log.seq_at(cursor).get()), [4, 4, 7, 7]);
        assert_eq!(log.after(3).collect::<Vec<_>>(), [b"\x81\x01x", b"\x81\x01x"]);
        log.trim(6);
        assert_eq!((log.seq_at(6), log.after(6).count()), (7.into(), 1));
        log.trim(9);
        assert_eq!((log.end(), log.seq_at(9), log.after(9).count()), (9, 7.into(), 0));
    }

    #[test]
    fn the_bound_moves_only_when_the_log_is_too_long() {
        let mut log = FrameLog::new(Seq::ZERO);
        log.push(batch(&[(Some(1), 60_000)]));
        assert_eq!(log.bound(Pressure::Low), 0);
        (2..20_u32).for_each(|seq| log.push(batch(&[(Some(seq), 60_000)])));
        assert_eq!(log.bound(Pressure::Low), log.end() - 1024 * 1024);
        assert_eq!(log.bound(Pressure::Exhausted), log.end());
    }

    proptest! {
        /// With partial writes of any size, a socket receives exactly the frames that were pushed.
        #[test]
        fn partial_writes_neither_lose_nor_duplicate_frames(
            sizes in prop::collection::vec(prop::collection::vec(0..300_usize, 1..6), 1..6),
            writes in prop::collection::vec(1..500_usize, 1..80),
        ) {
            let mut log = FrameLog::new(Seq::ZERO);
            let mut expected = Vec::new();
            for frames in &sizes {
                let batch = batch(&frames.iter().map(|size| (Some(1), *size)).collect::<Vec<_>>());
                expected.extend_from_slice(batch.bytes());
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
