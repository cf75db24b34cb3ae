//! Commands between workers and rooms. They are in a module apart from both, so that neither imports the other.

mod room;
mod worker;

pub use self::{
    room::RoomCommand,
    worker::{Joined, Opening, Posting, WorkerCommand, WorkerInbox, Workers},
};
