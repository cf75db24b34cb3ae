//! Watermarks of rooms that cannot be written to the database yet.
//!
//! Two archives may share a consumer, so a batch of one can be stored before an older batch of the other. A
//! room counts as archived up to an event only once no earlier event is unacknowledged. The consumer's ack floor
//! shows that.

use std::collections::{BTreeMap, VecDeque};

use protocol::{RoomId, Seq};

/// The newest stored seq of each room.
pub type Watermarks = BTreeMap<RoomId, Seq>;

/// Bound of the rooms that are remembered. The watermark of a dropped one is written with the room's next event;
/// until then history is read from the stream.
const MAX_ROOMS: usize = 10_000;

/// Watermarks of stored batches, oldest first, each with its newest seq.
#[derive(Default)]
pub struct PendingWatermarks(VecDeque<(Seq, Watermarks)>);

impl PendingWatermarks {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Remembers a stored batch while older events are unacknowledged.
    pub fn push(&mut self, watermarks: Watermarks) {
        let Some(newest) = watermarks.values().max().copied() else { return };
        self.0.push_back((newest, watermarks));
        while self.0.len() > 1 && self.rooms() > MAX_ROOMS {
            self.0.pop_front();
        }
    }

    fn rooms(&self) -> usize {
        self.0.iter().map(|(_, watermarks)| watermarks.len()).sum()
    }

    /// The watermarks of batches whose events are all at or before the ack floor.
    pub fn complete(&self, ack_floor: Seq) -> Watermarks {
        let mut complete = Watermarks::new();
        for (_, watermarks) in self.0.iter().filter(|(newest, _)| *newest <= ack_floor) {
            merge(&mut complete, watermarks);
        }
        complete
    }

    /// Removes what [`Self::complete`] returned.
    pub fn remove_complete(&mut self, ack_floor: Seq) {
        self.0.retain(|(newest, _)| *newest > ack_floor);
    }
}

/// Keeps the higher seq of each room.
pub fn merge(into: &mut Watermarks, watermarks: &Watermarks) {
    for (room, seq) in watermarks {
        let highest = into.entry(*room).or_default();
        *highest = (*highest).max(*seq);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_complete_once_the_ack_floor_reaches_its_newest_event() {
        let (one, other) = (RoomId::generate(), RoomId::generate());
        let mut pending = PendingWatermarks::default();
        pending.push(Watermarks::new());
        assert!(pending.is_empty());
        pending.push(Watermarks::from([(one, 3.into()), (other, 9.into())]));
        pending.push(Watermarks::from([(one, 7.into())]));
        assert_eq!(pending.complete(6.into()), Watermarks::new());
        assert_eq!(pending.complete(7.into()), Watermarks::from([(one, 7.into())]));
        assert_eq!(
            pending.complete(9.into()),
            Watermarks::from([(one, 7.into()), (other, 9.into())])
        );
        pending.remove_complete(7.into());
        assert_eq!(
            pending.complete(Seq::MAX),
            Watermarks::from([(one, 3.into()), (other, 9.into())])
        );
        for _ in 0..3 {
            pending
                .push((0..MAX_ROOMS as u32).map(|seq| (RoomId::generate(), seq.into())).collect());
        }
        assert_eq!(pending.complete(Seq::MAX).len(), MAX_ROOMS);
    }
}
