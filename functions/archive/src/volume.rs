//! How many bytes rooms have stored lately: a full stream is purged of the biggest first.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use protocol::RoomId;

/// Rooms that are counted. What is not counted is purged last.
const ROOMS: usize = 10_000;

/// Bytes by room, as far as this process moved them and has not purged them since.
#[derive(Default)]
pub struct Volumes(Mutex<HashMap<RoomId, u64>>);

impl Volumes {
    pub fn add(&self, room: RoomId, bytes: usize) {
        let mut volumes = self.lock();
        if volumes.len() >= ROOMS && !volumes.contains_key(&room) {
            return;
        }
        *volumes.entry(room).or_default() += bytes as u64;
    }

    /// The rooms, that with most bytes first.
    pub fn biggest_first(&self) -> Vec<RoomId> {
        let mut rooms: Vec<(RoomId, u64)> =
            self.lock().iter().map(|(room, bytes)| (*room, *bytes)).collect();
        rooms.sort_unstable_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        rooms.into_iter().map(|(room, _)| room).collect()
    }

    pub fn forget(&self, room: RoomId) {
        self.lock().remove(&room);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<RoomId, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_biggest_room_is_first_until_it_is_forgotten() {
        let (one, other, volumes) = (RoomId::generate(), RoomId::generate(), Volumes::default());
        volumes.add(one, 10);
        volumes.add(other, 15);
        volumes.add(one, 6);
        assert_eq!(volumes.biggest_first(), [one, other]);
        volumes.forget(one);
        assert_eq!(volumes.biggest_first(), [other]);
    }
}
