//! Encoded frames of one room: encoded once, then shared by every socket and ring that holds them.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use protocol::Seq;

use crate::{memory::Budget, wire::ws};

/// Bytes charged per batch in addition to its frames: entries in logs and rings, and the allocator's overhead.
const OVERHEAD: usize = 192;

/// Encoded WebSocket frames in one contiguous buffer, so that many of them are written as one slice.
#[derive(Debug, Clone)]
pub struct Batch {
    bytes: Bytes,
    ends: Arc<[FrameEnd]>,
}

/// The end of a frame in a batch.
#[derive(Debug, Clone, Copy)]
struct FrameEnd {
    end: usize,
    /// None for an event that is not stored.
    seq: Option<Seq>,
}

/// Encodes frames into a [`Batch`].
#[derive(Debug, Default)]
pub struct BatchBuilder {
    bytes: BytesMut,
    ends: Vec<FrameEnd>,
}

impl BatchBuilder {
    /// Appends a text frame, given in parts.
    pub fn push(&mut self, seq: Option<Seq>, text: &[&str]) {
        ws::put_text(&mut self.bytes, text);
        self.ends.push(FrameEnd { end: self.bytes.len(), seq });
    }

    /// The seq of the last stored event in it.
    pub fn last(&self) -> Option<Seq> {
        self.ends.iter().rev().find_map(|frame| frame.seq)
    }

    /// Bytes of its frames.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The batch, unless it is empty. `budget` is charged until the last handle to its bytes is dropped.
    pub fn build(self, budget: &Budget) -> Option<Batch> {
        let Self { bytes, ends } = self;
        if ends.is_empty() {
            return None;
        }
        let held = budget.charge(bytes.capacity() + ends.len() * size_of::<FrameEnd>() + OVERHEAD);
        Some(Batch { bytes: held.hold(bytes.freeze()), ends: ends.into() })
    }
}

impl Batch {
    /// Number of frames.
    pub fn frames(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of its frames.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// All frames, next to each other.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The seq of the last stored event in it.
    pub fn last(&self) -> Option<Seq> {
        self.last_until(self.size())
    }

    /// The seq of the last stored event whose frame ends within the first `size` bytes.
    pub fn last_until(&self, size: usize) -> Option<Seq> {
        self.ends.iter().rev().filter(|frame| frame.end <= size).find_map(|frame| frame.seq)
    }

    /// The frames after the event at `seq`, as one slice. Valid only for batches of stored events.
    pub fn after(&self, seq: Seq) -> Bytes {
        let before = self.ends.partition_point(|frame| frame.seq.is_none_or(|at| at <= seq));
        self.bytes.slice(self.start_of(before)..)
    }

    /// The rest of the frame that contains the byte at `offset`; none if a frame starts there.
    pub fn rest_of_frame(&self, offset: usize) -> Option<Bytes> {
        let frame = self.ends.partition_point(|frame| frame.end <= offset);
        (offset > self.start_of(frame)).then(|| self.bytes.slice(offset..self.ends[frame].end))
    }

    fn start_of(&self, frame: usize) -> usize {
        frame.checked_sub(1).map_or(0, |before| self.ends[before].end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_charged_until_the_last_slice_is_dropped() {
        let budget = Budget::new(1_000_000);
        let mut builder = BatchBuilder::default();
        (1..=3_u32).for_each(|seq| builder.push(Some(seq.into()), &["hello"]));
        let batch = builder.build(&budget).unwrap();
        assert!(budget.used() >= batch.size());
        let (copy, part) = (batch.clone(), batch.after(2.into()));
        assert_eq!(part, b"\x81\x05hello"[..]);
        drop((batch, copy));
        assert!(budget.used() > 0);
        drop(part);
        assert_eq!(budget.used(), 0);
    }
}
