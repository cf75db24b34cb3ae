//! The outbox of a socket: frames for this socket alone, such as answers, replays, or the rest of a partly sent
//! frame.

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes};

use crate::memory::Reservation;

/// Maximum of unread bytes, above which the socket is closed. A replay of a thousand long messages fits.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// Capacity, in frames, that an empty outbox keeps.
const KEPT: usize = 64;

/// A socket has more unread bytes than its limit, or than the process has memory for.
#[derive(Debug, PartialEq, Eq)]
pub struct TooMuch(pub &'static str);

/// See the module.
#[derive(Debug)]
pub struct Outbox {
    frames: VecDeque<Queued>,
    bytes: usize,
    /// Bytes of memory held for this socket alone.
    own: usize,
    /// Reserves `own`.
    reservation: Reservation,
}

#[derive(Debug)]
struct Queued {
    bytes: Bytes,
    own: usize,
}

impl Queued {
    /// A slice of a room's batch, whose memory the batch has reserved.
    fn shared(bytes: Bytes) -> Self {
        Self { bytes, own: size_of::<Self>() }
    }
}

impl Outbox {
    /// An empty outbox.
    pub fn new(reservation: Reservation) -> Self {
        Self { frames: VecDeque::new(), bytes: 0, own: 0, reservation }
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

    /// Queues the rest of a partly sent frame of a room's batch before everything else.
    pub fn push_rest(&mut self, rest: Bytes) {
        let queued = Queued::shared(rest);
        self.bytes += queued.bytes.len();
        self.own += queued.own;
        self.frames.push_front(queued);
    }

    /// Bytes of its frames.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether no frame is left.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Its frames, in order.
    pub fn frames(&self) -> impl Iterator<Item = &[u8]> {
        self.frames.iter().map(|queued| &*queued.bytes)
    }

    /// Drops the first `sent` bytes. Returns the number of bytes by which `sent` exceeds the outbox.
    pub fn advance(&mut self, mut sent: usize) -> usize {
        while sent > 0
            && let Some(front) = self.frames.front_mut()
        {
            let taken = sent.min(front.bytes.len());
            front.bytes.advance(taken);
            sent -= taken;
            self.bytes -= taken;
            if front.bytes.is_empty() {
                self.own -= front.own;
                self.frames.pop_front();
            }
        }
        if self.frames.is_empty() && self.frames.capacity() > KEPT {
            self.frames = VecDeque::new();
        }
        sent
    }

    /// Reserves memory for its frames.
    pub fn reserve(&mut self) -> Result<(), TooMuch> {
        if self.bytes > MAX_BYTES {
            return Err(TooMuch("too much left unread"));
        }
        self.reservation
            .try_follow(self.own)
            .map_err(|_| TooMuch("left unread while memory is short"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::memory::Budget;

    #[test]
    fn unread_bytes_are_bounded_per_socket_and_by_the_budget() {
        let budget = Budget::new(100_000);
        let mut outbox = Outbox::new(budget.nothing());
        outbox.push(Bytes::from_static(b"small"));
        assert_eq!((outbox.reserve(), budget.used()), (Ok(()), 0));
        outbox.push(vec![0; 90_000].into());
        assert_eq!(outbox.reserve(), Ok(()));
        assert!(budget.used() >= 90_000);
        outbox.push(vec![0; 90_000].into());
        assert_eq!(outbox.reserve(), Err(TooMuch("left unread while memory is short")));
        assert_eq!(outbox.advance(180_005), 0);
        assert_eq!((outbox.reserve(), budget.used()), (Ok(()), 0));
        // Shared frames are counted by their batch.
        outbox.push_shared(vec![0; 1_000_000].into());
        assert_eq!((outbox.reserve(), budget.used()), (Ok(()), 0));
        outbox.push_shared(vec![0; MAX_BYTES].into());
        assert_eq!(outbox.reserve(), Err(TooMuch("too much left unread")));
    }

    proptest! {
        #[test]
        fn frames_are_written_as_queued(
            frames in prop::collection::vec((1..300_usize, any::<bool>()), 0..30),
            writes in prop::collection::vec(1..500_usize, 0..40),
        ) {
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
                prop_assert_eq!(outbox.reserve(), Ok(()));
            }
            read.extend(outbox.frames().flatten());
            prop_assert_eq!(read, expected);
            outbox.advance(usize::MAX);
            prop_assert_eq!((outbox.own, outbox.reserve(), budget.used()), (0, Ok(()), 0));
        }
    }
}
