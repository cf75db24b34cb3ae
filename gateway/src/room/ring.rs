//! A room's newest events, in order and without a gap: what is delivered, and what a rejoin replays.
//! Pure: it says what to fetch and never fetches.

use std::collections::VecDeque;

use bytes::Bytes;
use protocol::stored::Position;

/// Enough for every client of a room to rejoin after a gateway's death without a read from
/// JetStream; a busier room falls back on the stream.
const MAX_EVENTS: usize = 1_000;
const MAX_BYTES: usize = 512 * 1024;

/// What to do with an event that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It follows the last one.
    Next,
    /// It was delivered already.
    Known,
    /// Events between the last one and this one are missing and must be fetched first.
    AfterHole,
}

/// Where an event belongs after the one at `last`. `prev` may lie before that one when the stream
/// was purged; an event between them cannot be missing, as sequences only grow.
pub fn place(last: u64, position: Position) -> Place {
    match position {
        Position { seq, .. } if seq <= last => Place::Known,
        Position { prev, .. } if prev <= last => Place::Next,
        _ => Place::AfterHole,
    }
}

/// See the module.
#[derive(Debug)]
pub struct Ring {
    /// Encoded frames of the events `complete_since < seq <= last`, all of them.
    events: VecDeque<(u64, Bytes)>,
    bytes: usize,
    complete_since: u64,
    last: u64,
}

impl Ring {
    /// A room whose newest event is `head` (0 for none).
    pub fn new(head: u64) -> Self {
        Self { events: VecDeque::new(), bytes: 0, complete_since: head, last: head }
    }

    /// The seq of the newest event.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Appends the event that follows the last one.
    pub fn push(&mut self, seq: u64, frame: Bytes) {
        debug_assert!(seq > self.last);
        self.bytes += frame.len();
        self.events.push_back((seq, frame));
        self.last = seq;
        self.trim();
    }

    /// The frames of all events after `after`, or none when the ring does not reach back that far.
    pub fn since(&self, after: u64) -> Option<impl Iterator<Item = &Bytes>> {
        if after < self.complete_since || after > self.last {
            return None;
        }
        let from = self.events.partition_point(|(seq, _)| *seq <= after);
        Some(self.events.range(from..).map(|(_, frame)| frame))
    }

    /// Reaches further back: `events` are all events after `after`, as read from the stream.
    pub fn extend_back(&mut self, after: u64, events: &[(u64, Bytes)]) {
        if after >= self.complete_since {
            return;
        }
        for (seq, frame) in events.iter().rev().filter(|(seq, _)| *seq <= self.complete_since) {
            self.bytes += frame.len();
            self.events.push_front((*seq, frame.clone()));
        }
        self.complete_since = after;
        self.trim();
    }

    fn trim(&mut self) {
        while self.events.len() > MAX_EVENTS || self.bytes > MAX_BYTES {
            let Some((seq, frame)) = self.events.pop_front() else { return };
            self.bytes -= frame.len();
            self.complete_since = seq;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(seq: u64) -> Bytes {
        Bytes::from(seq.to_string())
    }

    #[test]
    fn an_event_is_placed_by_its_predecessor() {
        let mut ring = Ring::new(5);
        assert_eq!(place(5, Position { seq: 9, prev: 5 }), Place::Next);
        assert_eq!(place(5, Position { seq: 9, prev: 0 }), Place::Next);
        assert_eq!(place(5, Position { seq: 9, prev: 7 }), Place::AfterHole);
        assert_eq!(place(9, Position { seq: 9, prev: 5 }), Place::Known);
        ring.push(9, frame(9));
        assert!(ring.since(4).is_none() && ring.since(10).is_none());
        assert_eq!(ring.since(5).unwrap().count(), 1);
        assert_eq!(ring.since(9).unwrap().count(), 0);
    }

    #[test]
    fn it_forgets_the_oldest_and_knows_that_it_did() {
        let mut ring = Ring::new(0);
        let newest = MAX_EVENTS as u64 + 7;
        (1..=newest).for_each(|seq| ring.push(seq, frame(seq)));
        assert!(ring.since(6).is_none());
        assert_eq!(ring.since(7).unwrap().count(), MAX_EVENTS);
        ring.push(newest + 1, Bytes::from(vec![0; MAX_BYTES + 1]));
        assert!(ring.since(newest).is_none());
    }

    proptest! {
        /// However it was filled, a replay is exactly the events after the one asked for.
        #[test]
        fn a_replay_is_exact(gaps in prop::collection::vec(1..5_u64, 1..60), open_at in 0..60_usize, back in 0..60_usize, after in 0..200_u64) {
            let seqs: Vec<u64> = gaps.iter().scan(0, |seq, gap| { *seq += gap; Some(*seq) }).collect();
            let open_at = open_at.min(seqs.len());
            let head = open_at.checked_sub(1).map_or(0, |i| seqs[i]);
            let mut ring = Ring::new(head);
            for &seq in &seqs[open_at..] { ring.push(seq, frame(seq)); }
            let back = back.min(open_at);
            let back_seq = back.checked_sub(1).map_or(0, |i| seqs[i]);
            let fetched: Vec<_> = seqs[back..].iter().map(|&seq| (seq, frame(seq))).collect();
            ring.extend_back(back_seq, &fetched);
            let expected: Vec<Bytes> = seqs.iter().filter(|&&seq| seq > after).map(|&seq| frame(seq)).collect();
            match ring.since(after) {
                Some(frames) => prop_assert_eq!(frames.cloned().collect::<Vec<_>>(), expected),
                None => prop_assert!(after < back_seq.min(head) || after > *seqs.last().unwrap()),
            }
        }
    }
}
