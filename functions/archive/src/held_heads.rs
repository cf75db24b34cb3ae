//! Archived seqs of rooms that cannot be recorded yet.
//!
//! Two archives share a consumer, and a batch of one may be stored before an older batch of the other. A
//! room counts as archived up to an event only once no earlier event is in flight, which the consumer's ack
//! floor shows.

use std::collections::{BTreeMap, VecDeque};

use protocol::{RoomId, Seq};

/// The newest stored seq of each room.
pub type Heads = BTreeMap<RoomId, Seq>;

/// Rooms that are remembered. A forgotten one is noted with its next event; until then its history is
/// read from the stream.
const ROOMS: usize = 10_000;

/// Heads of stored batches, oldest first, each with its newest seq.
#[derive(Default)]
pub struct HeldHeads(VecDeque<(Seq, Heads)>);

impl HeldHeads {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Remembers a batch of which an older event is still on its way.
    pub fn push(&mut self, heads: Heads) {
        let Some(newest) = heads.values().max().copied() else { return };
        self.0.push_back((newest, heads));
        while self.0.len() > 1 && self.0.iter().map(|(_, heads)| heads.len()).sum::<usize>() > ROOMS
        {
            self.0.pop_front();
        }
    }

    /// The heads of batches of which every event is at or before `floor`.
    pub fn complete(&self, floor: Seq) -> Heads {
        let mut complete = Heads::new();
        for (_, heads) in self.0.iter().filter(|(newest, _)| *newest <= floor) {
            merge(&mut complete, heads);
        }
        complete
    }

    /// Forgets what [`Self::complete`] returned.
    pub fn forget(&mut self, floor: Seq) {
        self.0.retain(|(newest, _)| *newest > floor);
    }
}

/// Keeps the higher seq of each room.
pub fn merge(into: &mut Heads, heads: &Heads) {
    for (room, seq) in heads {
        let head = into.entry(*room).or_default();
        *head = (*head).max(*seq);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_noted_once_nothing_before_its_newest_event_is_on_its_way() {
        let (one, other) = (RoomId::generate(), RoomId::generate());
        let mut held = HeldHeads::default();
        held.push(Heads::new());
        assert!(held.is_empty());
        held.push(Heads::from([(one, 3.into()), (other, 9.into())]));
        held.push(Heads::from([(one, 7.into())]));
        assert_eq!(held.complete(6.into()), Heads::new());
        assert_eq!(held.complete(7.into()), Heads::from([(one, 7.into())]));
        assert_eq!(held.complete(9.into()), Heads::from([(one, 7.into()), (other, 9.into())]));
        held.forget(7.into());
        assert_eq!(held.complete(Seq::MAX), Heads::from([(one, 3.into()), (other, 9.into())]));
        for _ in 0..3 {
            held.push((0..ROOMS as u32).map(|seq| (RoomId::generate(), seq.into())).collect());
        }
        assert_eq!(held.complete(Seq::MAX).len(), ROOMS);
    }
}
