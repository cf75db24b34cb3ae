//! What a room's sockets on one shard have yet to be written: the frames once, and for each socket
//! how far it is. A delivery costs no queue entry, no copy and no wake-up.

use std::collections::VecDeque;

use bytes::Bytes;

/// Frames, and bytes of them, that the slowest socket of a room may be behind before it is told
/// `lag`. A second of a very busy room, a minute of a usual one.
const MAX_FRAMES: usize = 1_024;
const MAX_BYTES: usize = 1024 * 1024;

/// One encoded frame, shared by all sockets it goes to.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The event's place in the room; none for what is not stored.
    pub seq: Option<u64>,
    pub bytes: Bytes,
}

/// How many frames of the log a socket has taken, counted from the log's beginning.
pub type Cursor = u64;

/// See the module.
#[derive(Debug)]
pub struct FrameLog {
    frames: VecDeque<Frame>,
    bytes: usize,
    /// The cursor at the first frame held.
    start: Cursor,
    /// The newest seq before the first frame held.
    seq_before: u64,
}

impl FrameLog {
    /// An empty log of a room whose newest event is `last`.
    pub fn new(last: u64) -> Self {
        Self { frames: VecDeque::new(), bytes: 0, start: 0, seq_before: last }
    }

    /// The cursor of a socket that has everything.
    pub fn end(&self) -> Cursor {
        self.start + self.frames.len() as u64
    }

    /// Appends a frame for all.
    pub fn push(&mut self, frame: Frame) {
        self.bytes += frame.bytes.len();
        self.frames.push_back(frame);
    }

    /// The frames that a socket at `cursor` has yet to be written.
    pub fn after(&self, cursor: Cursor) -> impl Iterator<Item = &Frame> {
        self.frames.range(self.index(cursor)..)
    }

    /// The newest seq that a socket at `cursor` was written.
    pub fn seq_at(&self, cursor: Cursor) -> u64 {
        let taken = self.frames.range(..self.index(cursor));
        taken.rev().find_map(|frame| frame.seq).unwrap_or(self.seq_before)
    }

    /// Forgets what all have taken: every socket is at `slowest` or further.
    pub fn trim(&mut self, slowest: Cursor) {
        let count = self.index(slowest);
        for frame in self.frames.drain(..count) {
            self.bytes -= frame.bytes.len();
            self.seq_before = frame.seq.unwrap_or(self.seq_before);
            self.start += 1;
        }
        if self.frames.is_empty() {
            // An idle room holds no memory for its busy past.
            self.frames = VecDeque::new();
        }
    }

    /// Where sockets must at least be for the log to be within its bounds.
    pub fn bound(&self) -> Cursor {
        let (mut bytes, mut bound) = (self.bytes, self.start);
        let mut left = self.frames.len();
        for frame in &self.frames {
            if left <= MAX_FRAMES && bytes <= MAX_BYTES {
                break;
            }
            left -= 1;
            bytes -= frame.bytes.len();
            bound += 1;
        }
        bound
    }

    fn index(&self, cursor: Cursor) -> usize {
        let index = usize::try_from(cursor.saturating_sub(self.start)).unwrap_or(usize::MAX);
        index.min(self.frames.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(seq: Option<u64>, size: usize) -> Frame {
        Frame { seq, bytes: Bytes::from(vec![0; size]) }
    }

    #[test]
    fn a_socket_takes_frames_in_order_and_knows_its_last_seq() {
        let mut log = FrameLog::new(4);
        let start = log.end();
        log.push(frame(None, 1));
        log.push(frame(Some(7), 1));
        log.push(frame(None, 1));
        assert_eq!(log.seq_at(start), 4);
        assert_eq!(log.seq_at(start + 1), 4);
        assert_eq!(log.seq_at(start + 3), 7);
        log.trim(start + 2);
        assert_eq!((log.seq_at(start + 2), log.after(start + 2).count()), (7, 1));
        log.trim(log.end());
        assert_eq!((log.end(), log.seq_at(log.end()), log.bytes), (start + 3, 7, 0));
    }

    #[test]
    fn its_bound_moves_only_when_it_is_too_long_or_too_big() {
        let mut log = FrameLog::new(0);
        (1..=MAX_FRAMES as u64).for_each(|seq| log.push(frame(Some(seq), 1)));
        assert_eq!(log.bound(), 0);
        log.push(frame(Some(2_000), 1));
        assert_eq!(log.bound(), 1);
        log.push(frame(Some(2_001), MAX_BYTES));
        assert_eq!(log.bound(), log.end() - 1);
    }
}
