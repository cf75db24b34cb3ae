//! Workers: threads that each own a share of the sockets, read them, and write all that is ready for a
//! socket at once. A worker shares nothing with others, so nothing in it is locked.
//!
//! [`dispatch`] contains the `Worker`, which routes between its parts: [`sockets`], [`rooms`], [`timers`]
//! and the [`context`].

mod context;
mod dispatch;
mod draining;
mod flush;
mod local_room;
mod log;
mod room_link;
mod rooms;
mod socket;
mod sockets;
mod thread;
mod timers;

pub use self::{
    context::Context,
    thread::{Running, Thread, start_threads},
};
