//! What was seen: deliveries, acknowledgements, and how long they took.

use std::time::Instant;

use hdrhistogram::Histogram;

/// Digits of the nanoseconds that lead every message's text.
pub const STAMP: usize = 16;
/// Latencies of this share of the connections are looked at; looking costs more than counting.
const SAMPLED: usize = 16;

/// See the module.
pub struct Tally {
    began: Instant,
    /// Deliveries to each room's members, all together.
    pub delivered: Vec<u64>,
    pub acknowledged: u64,
    pub refused: u64,
    /// Nanoseconds from a message's stamp to a member.
    pub delivery: Histogram<u64>,
    /// Nanoseconds from a message's stamp to its acknowledgement.
    pub acknowledgement: Histogram<u64>,
}

impl Tally {
    pub fn new(rooms: usize) -> Self {
        // Three digits up to a minute; both are within what the histogram allows.
        let histogram =
            || Histogram::new_with_max(60_000_000_000, 3).unwrap_or_else(|_| unreachable!());
        Self {
            began: Instant::now(),
            delivered: vec![0; rooms],
            acknowledged: 0,
            refused: 0,
            delivery: histogram(),
            acknowledgement: histogram(),
        }
    }

    /// Nanoseconds since the tally began.
    pub fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    /// All deliveries.
    pub fn deliveries(&self) -> u64 {
        self.delivered.iter().sum()
    }

    /// Starts the latencies anew; the counts go on.
    pub fn forget_latencies(&mut self) {
        self.delivery.reset();
        self.acknowledgement.reset();
    }

    /// Notes a delivery to a connection.
    pub fn on_delivery(&mut self, connection: usize, room: usize, text: &[u8]) {
        self.delivered[room] += 1;
        if connection.is_multiple_of(SAMPLED)
            && let Some(stamp) = stamp(text)
        {
            self.delivery.saturating_record(self.now().saturating_sub(stamp));
        }
    }

    /// Notes the acknowledgement of what was sent at `stamp`.
    pub fn on_ack(&mut self, stamp: u64, ok: bool) {
        self.acknowledged += 1;
        self.refused += u64::from(!ok);
        self.acknowledgement.saturating_record(self.now().saturating_sub(stamp));
    }
}

/// The text of a message sent at `stamp`, of `size` bytes.
pub fn text(stamp: u64, size: usize) -> String {
    let mut text = format!("{stamp:0STAMP$}");
    text.extend(std::iter::repeat_n('x', size.saturating_sub(STAMP)));
    text
}

/// Finds the stamp in a frame: sixteen digits and then the padding.
fn stamp(frame: &[u8]) -> Option<u64> {
    let padding = memchr::memmem::find(frame, b"xxxx")?;
    let digits = frame.get(padding.checked_sub(STAMP)?..padding)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_found_again_wherever_the_message_is() {
        let frame = format!(r#"42["receive-msg",{{"seq":7,"msg":"{}"}}]"#, text(123_456, 100));
        assert_eq!(stamp(frame.as_bytes()), Some(123_456));
        assert_eq!(text(1, 100).len(), 100);
        assert_eq!(stamp(b"42[]"), None);
    }
}
