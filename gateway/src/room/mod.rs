//! Rooms on this gateway: one task per room that has sockets here. It puts the room's events in order
//! without a gap, encodes each once, and passes them to the workers whose sockets are in the room.

mod context;
mod presence;
mod reaction_kinds;
mod registry;
mod ring;
mod state;
mod task;
mod waiting;

pub use self::{context::Context, registry::Rooms};
