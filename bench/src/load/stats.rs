//! Counters and latencies of deliveries and acknowledgements.

use std::time::Instant;

use hdrhistogram::Histogram;

use crate::latency::histogram;

/// Number of digits of the timestamp that every message text begins with.
const TIMESTAMP_DIGITS: usize = 16;
/// Latency is measured for every n-th member, because parsing the timestamp costs more than counting.
const LATENCY_SAMPLING: usize = 16;

pub struct DeliveryStats {
    began: Instant,
    /// Deliveries per room.
    pub delivered: Vec<u64>,
    pub acknowledged: u64,
    pub refused: u64,
    /// Nanoseconds from a message's timestamp to its delivery.
    pub delivery: Histogram<u64>,
    /// Nanoseconds from a message's timestamp to its acknowledgement.
    pub acknowledgement: Histogram<u64>,
}

impl DeliveryStats {
    pub fn new(rooms: usize) -> Self {
        Self {
            began: Instant::now(),
            delivered: vec![0; rooms],
            acknowledged: 0,
            refused: 0,
            delivery: histogram(),
            acknowledgement: histogram(),
        }
    }

    /// Nanoseconds since the statistics were created.
    pub fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    /// All deliveries.
    pub fn deliveries(&self) -> u64 {
        self.delivered.iter().sum()
    }

    /// Discards latencies and keeps the counters.
    pub fn reset_latencies(&mut self) {
        self.delivery.reset();
        self.acknowledgement.reset();
    }

    pub fn on_delivery(&mut self, member: usize, room: usize, text: &[u8]) {
        self.delivered[room] += 1;
        if member.is_multiple_of(LATENCY_SAMPLING)
            && let Some(sent_at) = parse_timestamp(text)
        {
            self.delivery.saturating_record(self.now().saturating_sub(sent_at));
        }
    }

    pub fn on_ack(&mut self, sent_at: u64, ok: bool) {
        self.acknowledged += 1;
        self.refused += u64::from(!ok);
        self.acknowledgement.saturating_record(self.now().saturating_sub(sent_at));
    }
}

/// A message text of `size` bytes: the timestamp, then padding.
pub fn message_text(sent_at: u64, size: usize) -> String {
    let mut text = format!("{sent_at:0TIMESTAMP_DIGITS$}");
    text.extend(std::iter::repeat_n('x', size.saturating_sub(TIMESTAMP_DIGITS)));
    text
}

/// Finds the timestamp in a frame: the digits before the padding.
fn parse_timestamp(frame: &[u8]) -> Option<u64> {
    let padding = memchr::memmem::find(frame, b"xxxx")?;
    let digits = frame.get(padding.checked_sub(TIMESTAMP_DIGITS)?..padding)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_found_anywhere_in_a_frame() {
        let frame =
            format!(r#"42["receive-msg",{{"seq":7,"msg":"{}"}}]"#, message_text(123_456, 100));
        assert_eq!(parse_timestamp(frame.as_bytes()), Some(123_456));
        assert_eq!(message_text(1, 100).len(), 100);
        assert_eq!(parse_timestamp(b"42[]"), None);
    }
}
