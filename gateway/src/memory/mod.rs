//! The memory budget of the process for buffered data: replays, rooms' rings, backlogs of slow sockets. Limits
//! per socket multiply with the number of sockets; this one does not.
//!
//! Bytes are counted once, where they are allocated, however many sockets share them: a [`Reservation`] lives as
//! long as its buffer.

mod limit;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use bytes::Bytes;

pub use self::limit::{LEAST_BUDGET, default_budget};

/// What a buffer is for. When memory is short, less urgent buffers are refused first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A long replay: up to three quarters of the budget, so that a crowd that rejoins leaves memory for the
    /// others.
    Replay,
    /// Answers, short replays, received messages: up to the whole budget.
    Live,
}

/// How much of the budget is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// At most half.
    Low,
    /// More than half: what can be read from the stream again is not kept.
    Short,
    /// More than seven eighths: slow sockets get `lag` early.
    High,
    /// More than all: no socket may be behind.
    Exhausted,
}

/// The budget is used up for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the memory budget is used up")]
pub struct Exhausted;

/// See the module. Clones share it.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limit: usize,
    used: AtomicUsize,
}

impl Budget {
    /// A budget of `limit` bytes, none of them used.
    pub fn new(limit: usize) -> Self {
        metrics::gauge!("gateway_memory_budget_bytes").set(limit as f64);
        Self(Arc::new(Inner { limit, used: AtomicUsize::new(0) }))
    }

    /// The number of used bytes up to which a purpose gets more.
    pub fn ceiling(&self, purpose: Purpose) -> usize {
        match purpose {
            Purpose::Replay => self.0.limit - self.0.limit / 4,
            Purpose::Live => self.0.limit,
        }
    }

    /// The bytes that are reserved now.
    pub fn used(&self) -> usize {
        self.0.used.load(Relaxed)
    }

    /// See [`Pressure`].
    pub fn pressure(&self) -> Pressure {
        let (used, limit) = (self.used(), self.0.limit);
        match used {
            _ if used > limit => Pressure::Exhausted,
            _ if used > limit - limit / 8 => Pressure::High,
            _ if used > limit / 2 => Pressure::Short,
            _ => Pressure::Low,
        }
    }

    /// Whether a reservation would succeed now.
    pub fn has_room(&self, bytes: usize, purpose: Purpose) -> bool {
        self.used().saturating_add(bytes) <= self.ceiling(purpose)
    }

    /// An empty reservation, to grow later.
    pub fn nothing(&self) -> Reservation {
        Reservation { budget: self.clone(), bytes: 0 }
    }

    /// Reserves memory for a buffer that is about to be made.
    pub fn try_reserve(&self, bytes: usize, purpose: Purpose) -> Result<Reservation, Exhausted> {
        let mut reservation = self.nothing();
        reservation.try_grow(bytes, purpose)?;
        Ok(reservation)
    }

    /// Reserves memory for a buffer that exists already, even over the budget: the resulting pressure frees
    /// memory elsewhere.
    pub fn charge(&self, bytes: usize) -> Reservation {
        let mut reservation = self.nothing();
        reservation.cover(bytes);
        reservation
    }
}

/// Bytes of the budget, returned when this is dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: Budget,
    bytes: usize,
}

/// Bytes that a socket may hold without a reservation, so that usual answers need no access to the shared
/// counter.
const FREE: usize = 4 * 1024;
/// [`Reservation::try_follow`] reserves in multiples of this.
const STEP: usize = 16 * 1024;

impl Reservation {
    /// How many bytes.
    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn try_grow(&mut self, by: usize, purpose: Purpose) -> Result<(), Exhausted> {
        let ceiling = self.budget.ceiling(purpose);
        let grown = |used: usize| used.checked_add(by).filter(|grown| *grown <= ceiling);
        match self.budget.0.used.fetch_update(Relaxed, Relaxed, grown) {
            Ok(_) => {
                self.bytes += by;
                Ok(())
            }
            Err(_) => {
                let purpose = match purpose {
                    Purpose::Replay => "replay",
                    Purpose::Live => "live",
                };
                metrics::counter!("gateway_memory_refusals_total", "purpose" => purpose)
                    .increment(1);
                Err(Exhausted)
            }
        }
    }

    /// Returns all but `bytes`.
    pub fn shrink(&mut self, bytes: usize) {
        let excess = self.bytes.saturating_sub(bytes);
        if excess > 0 {
            self.bytes -= excess;
            self.budget.0.used.fetch_sub(excess, Relaxed);
        }
    }

    /// Resizes to a buffer that exists already; see [`Budget::charge`].
    pub fn cover(&mut self, bytes: usize) {
        let missing = bytes.saturating_sub(self.bytes);
        if missing > 0 {
            self.budget.0.used.fetch_add(missing, Relaxed);
            self.bytes += missing;
        }
        self.shrink(bytes);
    }

    /// Resizes in coarse steps, for a buffer that changes often. Unchanged if refused.
    pub fn try_follow(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let wanted = if bytes <= FREE { 0 } else { bytes.next_multiple_of(STEP) };
        if wanted > self.bytes {
            return self.try_grow(wanted - self.bytes, Purpose::Live);
        }
        // Not at each step down, because the buffer may grow again at once.
        if wanted <= self.bytes / 2 {
            self.shrink(wanted);
        }
        Ok(())
    }

    /// Ties the reservation to a buffer: it is returned when the last clone or slice is dropped.
    pub fn hold(self, buffer: impl AsRef<[u8]> + Send + 'static) -> Bytes {
        Bytes::from_owner(Held { buffer, _reservation: self })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shrink(0);
    }
}

struct Held<T> {
    buffer: T,
    _reservation: Reservation,
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for Held<T> {
    fn as_ref(&self) -> &[u8] {
        self.buffer.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Reserve(usize, bool),
        Charge(usize),
        Follow(prop::sample::Index, usize),
        Shrink(prop::sample::Index, usize),
        Cover(prop::sample::Index, usize),
        Hold(prop::sample::Index),
        Drop(prop::sample::Index),
        DropBuffer(prop::sample::Index),
    }

    fn step() -> impl Strategy<Value = Step> {
        let bytes = || prop_oneof![0..STEP, 0..200_000_usize];
        let which = any::<prop::sample::Index>;
        prop_oneof![
            (bytes(), any::<bool>()).prop_map(|(bytes, live)| Step::Reserve(bytes, live)),
            bytes().prop_map(Step::Charge),
            (which(), bytes()).prop_map(|(which, bytes)| Step::Follow(which, bytes)),
            (which(), bytes()).prop_map(|(which, bytes)| Step::Shrink(which, bytes)),
            (which(), bytes()).prop_map(|(which, bytes)| Step::Cover(which, bytes)),
            which().prop_map(Step::Hold),
            which().prop_map(Step::Drop),
            which().prop_map(Step::DropBuffer),
        ]
    }

    proptest! {
        /// Whatever is done in whatever order, what counts as used is what is reserved, nothing is
        /// granted above its ceiling, and nothing is left when all are gone.
        #[test]
        fn what_is_used_is_what_is_reserved(limit in 0..400_000_usize, steps in prop::collection::vec(step(), 0..80)) {
            let budget = Budget::new(limit);
            let (mut held, mut buffers): (Vec<Reservation>, Vec<(usize, Bytes)>) = Default::default();
            for step in steps {
                let before = budget.used();
                match step {
                    Step::Reserve(bytes, live) => {
                        let purpose = if live { Purpose::Live } else { Purpose::Replay };
                        let granted = budget.try_reserve(bytes, purpose);
                        prop_assert_eq!(granted.is_ok(), before + bytes <= budget.ceiling(purpose));
                        held.extend(granted);
                    }
                    Step::Charge(bytes) => held.push(budget.charge(bytes)),
                    Step::Follow(which, bytes) if !held.is_empty() => {
                        let which = which.index(held.len());
                        match held[which].try_follow(bytes) {
                            Ok(()) => prop_assert!(held[which].bytes() + FREE >= bytes),
                            Err(Exhausted) => prop_assert_eq!(budget.used(), before),
                        }
                    }
                    Step::Shrink(which, bytes) if !held.is_empty() => {
                        let which = which.index(held.len());
                        held[which].shrink(bytes);
                        prop_assert!(held[which].bytes() <= bytes);
                    }
                    Step::Cover(which, bytes) if !held.is_empty() => {
                        let which = which.index(held.len());
                        held[which].cover(bytes);
                        prop_assert_eq!(held[which].bytes(), bytes);
                    }
                    Step::Hold(which) if !held.is_empty() => {
                        let reservation = held.swap_remove(which.index(held.len()));
                        let bytes = reservation.bytes();
                        let buffer = reservation.hold(vec![7; 10]);
                        buffers.push((bytes, buffer.slice(3..5)));
                    }
                    Step::Drop(which) if !held.is_empty() => drop(held.swap_remove(which.index(held.len()))),
                    Step::DropBuffer(which) if !buffers.is_empty() => {
                        drop(buffers.swap_remove(which.index(buffers.len())));
                    }
                    _ => {}
                }
                let all = held.iter().map(Reservation::bytes).sum::<usize>()
                    + buffers.iter().map(|(bytes, _)| bytes).sum::<usize>();
                prop_assert_eq!(budget.used(), all);
            }
            drop((held, buffers));
            prop_assert_eq!((budget.used(), budget.pressure()), (0, Pressure::Low));
        }
    }

    #[test]
    fn threads_that_compete_neither_exceed_nor_leak_it() {
        let budget = Budget::new(100_000);
        std::thread::scope(|scope| {
            for seed in 1..=4_usize {
                let budget = budget.clone();
                scope.spawn(move || {
                    let mut held = budget.nothing();
                    for round in 0..20_000 {
                        let bytes = (round * seed * 7_919) % 90_000;
                        // Refused or not: both are to leave the count right.
                        let _ = held.try_follow(bytes);
                        assert!(budget.used() <= 100_000);
                    }
                });
            }
        });
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn pressure_rises_with_what_is_used() {
        let budget = Budget::new(800);
        let steps = [
            (400, Pressure::Low),
            (1, Pressure::Short),
            (299, Pressure::Short),
            (1, Pressure::High),
            (99, Pressure::High),
            (1, Pressure::Exhausted),
        ];
        let mut held = Vec::new();
        for (bytes, pressure) in steps {
            held.push(budget.charge(bytes));
            assert_eq!(budget.pressure(), pressure, "{} of 800", budget.used());
        }
    }
}
