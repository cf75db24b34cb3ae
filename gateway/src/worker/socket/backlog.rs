//! The frames that still have to be sent to a socket, in order: its own frames first, then those of its rooms
//! after its cursors.

use bytes::Bytes;

use super::outbox::{Outbox, TooMuch};
use crate::{
    memory::Reservation,
    worker::log::{Cursor, FrameLog},
};

/// The index of a room in a worker's table of rooms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomKey(pub usize);

/// Access to the frame logs of a worker's rooms.
pub trait RoomLogs {
    /// The log of a room.
    fn log(&self, room: RoomKey) -> Option<&FrameLog>;
}

/// A socket's position in a room that it has joined.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub room: RoomKey,
    /// The room's frames before this cursor were sent to the socket.
    pub cursor: Cursor,
    /// The socket's index in the room's list of members.
    pub slot: usize,
}

/// See the module.
#[derive(Debug)]
pub struct Backlog {
    outbox: Outbox,
    places: Vec<Place>,
}

impl Backlog {
    /// An empty backlog of a socket in no room. `reservation` is for the socket's own frames.
    pub fn new(reservation: Reservation) -> Self {
        Self { outbox: Outbox::new(reservation), places: Vec::new() }
    }

    /// Queues a frame for this socket alone.
    pub fn push(&mut self, frame: Bytes) {
        self.outbox.push(frame);
    }

    /// Queues frames that share memory with a room's batch.
    pub fn push_shared(&mut self, frames: Bytes) {
        self.outbox.push_shared(frames);
    }

    /// Bytes of the socket's own frames.
    pub fn outbox_bytes(&self) -> usize {
        self.outbox.bytes()
    }

    /// Whether none of the socket's own frames is left.
    pub fn is_outbox_empty(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Reserves memory for the socket's own frames. After an error the socket must be closed.
    pub fn reserve(&mut self) -> Result<(), TooMuch> {
        self.outbox.reserve()
    }

    /// The socket's places in rooms.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// The room that the socket joined last.
    pub fn last_room(&self) -> Option<RoomKey> {
        self.places.last().map(|place| place.room)
    }

    /// The socket's place in a room.
    pub fn place(&self, room: RoomKey) -> Option<Place> {
        self.places.iter().find(|place| place.room == room).copied()
    }

    /// The socket joined a room.
    pub fn enter(&mut self, place: Place) {
        self.places.push(place);
    }

    /// The socket left a room.
    pub fn leave(&mut self, room: RoomKey) -> Option<Place> {
        let index = self.places.iter().position(|place| place.room == room)?;
        Some(self.places.swap_remove(index))
    }

    /// The room moved the socket to another index among its members.
    pub fn set_slot(&mut self, room: RoomKey, slot: usize) {
        if let Some(place) = self.places.iter_mut().find(|place| place.room == room) {
            place.slot = slot;
        }
    }

    /// The bytes to send.
    pub fn ready<'a>(&'a self, logs: &'a impl RoomLogs) -> impl Iterator<Item = &'a [u8]> {
        self.outbox.frames().chain(self.places.iter().flat_map(|place| {
            logs.log(place.room).into_iter().flat_map(|log| log.after(place.cursor))
        }))
    }

    /// Drops the first `sent` bytes of [`Self::ready`].
    pub fn advance(&mut self, sent: usize, logs: &impl RoomLogs) {
        let mut left = self.outbox.advance(sent) as u64;
        for place in &mut self.places {
            let Some(log) = logs.log(place.room) else { continue };
            let taken = left.min(log.end() - place.cursor);
            place.cursor += taken;
            left -= taken;
            if left > 0 {
                continue;
            }
            // The rest of a partly sent frame must be sent before all other frames.
            if let Some(rest) = log.rest_of_frame(place.cursor) {
                place.cursor += rest.len() as u64;
                self.outbox.push_rest(rest);
            }
            return;
        }
    }
}
