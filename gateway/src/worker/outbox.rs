//! Frames for one socket alone: its answers, its replays, the rest of a frame that is partly written.

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes};

use crate::memory::Reservation;

/// Bytes that a socket may leave unread before it is closed. Replays of a thousand long messages fit.
const AT_MOST: usize = 16 * 1024 * 1024;
/// An empty outbox keeps room for so many frames.
const KEPT: usize = 64;

/// A socket leaves more unread than it may, or than the process has memory for.
#[derive(Debug, PartialEq, Eq)]
pub struct TooMuch(pub &'static str);

/// See the module.
#[derive(Debug)]
pub struct Outbox {
    frames: VecDeque<Queued>,
    bytes: usize,
    /// Bytes of memory that are held for this socket only.
    own: usize,
    /// For what is `own`.
    held: Reservation,
}

#[derive(Debug)]
struct Queued {
    bytes: Bytes,
    own: usize,
}

impl Queued {
    /// Memory that the budget counts elsewhere: a part of a room's batch.
    fn shared(bytes: Bytes) -> Self {
        Self { bytes, own: size_of::<Self>() }
    }
}

impl Outbox {
    /// An empty one.
    pub fn new(held: Reservation) -> Self {
        Self { frames: VecDeque::new(), bytes: 0, own: 0, held }
    }

    /// Queues a frame.
    pub fn push(&mut self, frame: Bytes) {
        let own = frame.len() + size_of::<Queued>();
        self.push_back(Queued { bytes: frame, own });
    }

    /// Queues frames of a room's batch.
    pub fn push_shared(&mut self, frames: Bytes) {
        self.push_back(Queued::shared(frames));
    }

    fn push_back(&mut self, queued: Queued) {
        self.bytes += queued.bytes.len();
        self.own += queued.own;
        self.frames.push_back(queued);
    }

    /// Puts the rest of a partly written frame of a room's batch before everything else.
    pub fn push_rest(&mut self, rest: Bytes) {
        let queued = Queued::shared(rest);
        self.bytes += queued.bytes.len();
        self.own += queued.own;
        self.frames.push_front(queued);
    }

    /// Bytes to write.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Nothing is left to write.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// What is to be written, in order.
    pub fn frames(&self) -> impl Iterator<Item = &[u8]> {
        self.frames.iter().map(|queued| &*queued.bytes)
    }

    /// Drops what was written; of `written` bytes those that are not its own.
    pub fn advance(&mut self, mut written: usize) -> usize {
        while written > 0
            && let Some(front) = self.frames.front_mut()
        {
            let taken = written.min(front.bytes.len());
            front.bytes.advance(taken);
            written -= taken;
            self.bytes -= taken;
            if front.bytes.is_empty() {
                self.own -= front.own;
                self.frames.pop_front();
            }
        }
        if self.frames.is_empty() && self.frames.capacity() > KEPT {
            self.frames = VecDeque::new();
        }
        written
    }

    /// Reserves what is left unread, or says that it is too much.
    pub fn settle(&mut self) -> Result<(), TooMuch> {
        if self.bytes > AT_MOST {
            return Err(TooMuch("too much left unread"));
        }
        self.held.try_follow(self.own).map_err(|_| TooMuch("left unread while memory is short"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::memory::Budget;

    #[test]
    fn what_is_left_unread_is_bounded_by_the_socket_and_by_the_budget() {
        let budget = Budget::new(100_000);
        let mut outbox = Outbox::new(budget.nothing());
        outbox.push(Bytes::from_static(b"small"));
        assert_eq!((outbox.settle(), budget.used()), (Ok(()), 0));
        outbox.push(vec![0; 90_000].into());
        assert_eq!(outbox.settle(), Ok(()));
        assert!(budget.used() >= 90_000);
        outbox.push(vec![0; 90_000].into());
        assert_eq!(outbox.settle(), Err(TooMuch("left unread while memory is short")));
        assert_eq!(outbox.advance(180_005), 0);
        assert_eq!((outbox.settle(), budget.used()), (Ok(()), 0));
        // What is shared is counted where it was made.
        outbox.push_shared(vec![0; 1_000_000].into());
        assert_eq!((outbox.settle(), budget.used()), (Ok(()), 0));
        outbox.push_shared(vec![0; AT_MOST].into());
        assert_eq!(outbox.settle(), Err(TooMuch("too much left unread")));
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_was_queued(frames in prop::collection::vec((1..300_usize, any::<bool>()), 0..30), writes in prop::collection::vec(1..500_usize, 0..40)) {
            let budget = Budget::new(usize::MAX);
            let mut outbox = Outbox::new(budget.nothing());
            let mut expected = Vec::new();
            for (index, (size, shared)) in frames.into_iter().enumerate() {
                let frame = vec![index as u8; size];
                expected.extend_from_slice(&frame);
                if shared { outbox.push_shared(frame.into()) } else { outbox.push(frame.into()) }
            }
            let mut read = Vec::new();
            for size in writes {
                let ready: Vec<u8> = outbox.frames().flatten().copied().take(size).collect();
                read.extend_from_slice(&ready);
                prop_assert_eq!(outbox.advance(size), size - ready.len());
                prop_assert_eq!(outbox.bytes(), expected.len() - read.len());
                prop_assert_eq!(outbox.settle(), Ok(()));
            }
            read.extend(outbox.frames().flatten());
            prop_assert_eq!(read, expected);
            outbox.advance(usize::MAX);
            prop_assert_eq!((outbox.own, outbox.settle(), budget.used()), (0, Ok(()), 0));
        }
    }
}
