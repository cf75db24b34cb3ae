//! Workers: threads that each own a share of the sockets and do all their reads and writes. A worker's state is
//! not shared with other threads, so it has no locks.
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
