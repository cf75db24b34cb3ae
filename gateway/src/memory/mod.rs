//! The memory budget of the process for buffered data: replays, rooms' rings, backlogs of slow sockets. Limits
//! per socket multiply with the number of sockets; this limit does not.
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

/// The use of a buffer. When memory is short, less urgent buffers are refused first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A long replay: up to three quarters of the budget, so that many clients that rejoin at once leave memory
    /// for others.
    Replay,
    /// Answers, short replays, received messages: up to the whole budget.
    Live,
}

/// How much of the budget is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// At most half.
    Low,
    /// More than half: rings drop events that can be read from the stream again.
    Short,
    /// More than seven eighths: slow sockets get `lag` early.
    High,
    /// More than the budget: every socket that is behind gets `lag`.
    Exhausted,
}

/// The budget is used up for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the memory budget is used up")]
pub struct Exhausted;

/// A number of bytes that all buffers of the process share. Clones share it.
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
        metrics::gauge!("chat_gateway_memory_budget_bytes").set(limit as f64);
        Self(Arc::new(Inner { limit, used: AtomicUsize::new(0) }))
    }

    /// The number of used bytes up to which reservations for a purpose succeed.
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

    /// An empty reservation, which can grow later.
    pub fn nothing(&self) -> Reservation {
        Reservation::new(self.clone())
    }

    /// Reserves memory for a buffer that is about to be allocated.
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

/// Bytes that a socket may hold without a reservation, so that small answers need no access to the shared
/// counter.
const FREE: usize = 4 * 1024;
/// [`Reservation::try_follow`] reserves in multiples of this.
const STEP: usize = 16 * 1024;

impl Reservation {
    fn new(budget: Budget) -> Self {
        Self { budget, bytes: 0 }
    }

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
                metrics::counter!("chat_gateway_memory_refusals_total", "purpose" => purpose)
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
        // Shrinks only when half is unused, because the buffer may grow again at once.
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
mod tests;
