//! Encoded frames of one room: encoded once, then shared by every socket and ring that holds them.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use protocol::Seq;

use crate::{memory::Budget, wire::ws};

/// Bytes of a batch besides its frames: entries in logs and rings, and the allocator's overhead.
const OVERHEAD: usize = 192;

/// WebSocket frames next to each other in memory, so that many of them leave as one slice.
#[derive(Debug, Clone)]
pub struct Batch {
    bytes: Bytes,
    cuts: Arc<[Cut]>,
}

/// Where a frame of a batch ends.
#[derive(Debug, Clone, Copy)]
struct Cut {
    end: usize,
    /// None for an event that is not stored.
    seq: Option<Seq>,
}

/// Encodes frames into a [`Batch`].
#[derive(Debug, Default)]
pub struct BatchBuilder {
    bytes: BytesMut,
    cuts: Vec<Cut>,
}

impl BatchBuilder {
    /// Appends a text frame, given in parts.
    pub fn push(&mut self, seq: Option<Seq>, text: &[&str]) {
        ws::put_text(&mut self.bytes, text);
        self.cuts.push(Cut { end: self.bytes.len(), seq });
    }

    /// The seq of the last stored event in it.
    pub fn last(&self) -> Option<Seq> {
        self.cuts.iter().rev().find_map(|cut| cut.seq)
    }

    /// Bytes of its frames.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The batch, unless it is empty. `budget` is charged until the last handle to its bytes is dropped.
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
    /// Number of frames.
    pub fn frames(&self) -> usize {
        self.cuts.len()
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
        self.cuts.iter().rev().filter(|cut| cut.end <= size).find_map(|cut| cut.seq)
    }

    /// The frames after that of the event at `seq`, in one piece. For batches of stored events only.
    pub fn after(&self, seq: Seq) -> Bytes {
        let before = self.cuts.partition_point(|cut| cut.seq.is_none_or(|at| at <= seq));
        self.bytes.slice(self.start_of(before)..)
    }

    /// The rest of the frame that the byte at `offset` is inside of; none at a frame boundary.
    pub fn rest_of_frame(&self, offset: usize) -> Option<Bytes> {
        let cut = self.cuts.partition_point(|cut| cut.end <= offset);
        (offset > self.start_of(cut)).then(|| self.bytes.slice(offset..self.cuts[cut].end))
    }

    fn start_of(&self, frame: usize) -> usize {
        frame.checked_sub(1).map_or(0, |before| self.cuts[before].end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_memory_counts_as_long_as_anybody_has_a_part_of_it() {
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
