//! Reservations: parts of the memory budget, each for one buffer.

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;

use super::{Budget, Exhausted, Purpose};

/// Bytes of the budget, returned when this is dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: Budget,
    bytes: usize,
}

/// Bytes that a socket may hold without a reservation, so that small answers need no access to the shared
/// counter.
pub(super) const FREE: usize = 4 * 1024;
/// [`Reservation::try_follow`] reserves in multiples of this.
pub(super) const STEP: usize = 16 * 1024;

impl Reservation {
    pub(super) fn new(budget: Budget) -> Self {
        Self { budget, bytes: 0 }
    }

    /// How many bytes.
    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn try_grow(&mut self, by: usize, purpose: Purpose) -> Result<(), Exhausted> {
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
