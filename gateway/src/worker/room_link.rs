//! The sending side of a worker's commands to rooms.

use protocol::{RoomId, UserId};

use crate::{command::RoomCommand, room::Rooms};

/// See the module.
pub struct RoomLink {
    /// The index of this worker.
    worker: usize,
    rooms: Rooms,
    /// Commands that must not be lost and were refused by a full mailbox. They are sent again at the next tick.
    unsent: Vec<(RoomId, RoomCommand)>,
}

impl RoomLink {
    /// The link of a worker.
    pub fn new(worker: usize, rooms: Rooms) -> Self {
        Self { worker, rooms, unsent: Vec::new() }
    }

    /// Sends a command. If the mailbox is full, it is sent again later.
    pub fn send(&mut self, room: RoomId, command: RoomCommand) {
        if let Err(command) = self.rooms.send(room, command) {
            self.unsent.push((room, command));
        }
    }

    /// A socket of `user` is no longer in the room.
    pub fn leave(&mut self, room: RoomId, user: UserId) {
        self.send(room, RoomCommand::Leave { worker: self.worker, user });
    }

    /// Sends the refused commands again.
    pub fn retry(&mut self) {
        for (room, command) in std::mem::take(&mut self.unsent) {
            self.send(room, command);
        }
    }
}
