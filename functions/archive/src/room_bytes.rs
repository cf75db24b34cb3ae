//! Counts the bytes that each room has stored recently. A full stream is purged room by room, the largest first.

use std::{
    cmp::Reverse,
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use protocol::RoomId;

/// Bound of the map. Rooms beyond it are not counted, so they are purged last.
const MAX_ROOMS: usize = 10_000;

/// Bytes per room that this process has archived and not purged since.
#[derive(Default)]
pub struct RoomBytes(Mutex<HashMap<RoomId, u64>>);

impl RoomBytes {
    pub fn add(&self, room: RoomId, bytes: usize) {
        let mut bytes_by_room = self.lock();
        if bytes_by_room.len() >= MAX_ROOMS && !bytes_by_room.contains_key(&room) {
            return;
        }
        *bytes_by_room.entry(room).or_default() += bytes as u64;
    }

    pub fn largest_first(&self) -> Vec<RoomId> {
        let mut rooms: Vec<(RoomId, u64)> =
            self.lock().iter().map(|(room, bytes)| (*room, *bytes)).collect();
        rooms.sort_unstable_by_key(|(_, bytes)| Reverse(*bytes));
        rooms.into_iter().map(|(room, _)| room).collect()
    }

    pub fn remove(&self, room: RoomId) {
        self.lock().remove(&room);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RoomId, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_room_is_first_until_it_is_removed() {
        let (one, other, room_bytes) =
            (RoomId::generate(), RoomId::generate(), RoomBytes::default());
        room_bytes.add(one, 10);
        room_bytes.add(other, 15);
        room_bytes.add(one, 6);
        assert_eq!(room_bytes.largest_first(), [one, other]);
        room_bytes.remove(one);
        assert_eq!(room_bytes.largest_first(), [other]);
    }
}
