//! What workers and rooms ask of each other. The commands are beside both, so that neither imports the
//! other.

mod room;
mod worker;

pub use self::{
    room::RoomCommand,
    worker::{Joined, Opening, Posting, WorkerCommand, WorkerInbox, Workers},
};
