//! The worker: routes commands, timers and received messages between its parts.

mod commands;
mod connection;
mod events;
mod flush;
mod polling;
mod publish;
mod receive;
pub mod run;

use std::{
    cell::RefCell,
    rc::{Rc, Weak},
};

use tokio::sync::Notify;

use super::{
    context::Context, draining::Draining, room_link::RoomLink, rooms::LocalRooms, sockets::Sockets,
    timers::Timers,
};

/// A worker, shared by the tasks of its thread.
type SharedWorker = Rc<RefCell<Worker>>;
/// A worker, for tasks that may outlive it.
type WeakWorker = Weak<RefCell<Worker>>;

/// See the module. Each part keeps its own invariants; this type has none but the routing between them.
pub struct Worker {
    index: usize,
    /// A handle for tasks that it spawns on its thread.
    me: WeakWorker,
    context: Context,
    sockets: Sockets,
    rooms: LocalRooms,
    timers: Timers,
    /// None until the gateway shuts down.
    draining: Option<Draining>,
    /// The read buffer, shared by all sockets, so that idle sockets have none.
    read_buffer: Vec<u8>,
    received: metrics::Counter,
}

impl Worker {
    /// A worker without sockets. `wake` wakes the task that calls `flush`.
    pub fn new(index: usize, context: Context, wake: Rc<Notify>) -> SharedWorker {
        let (link, budget) = (RoomLink::new(index, context.rooms.clone()), context.budget.clone());
        Rc::new_cyclic(|me| {
            RefCell::new(Self {
                index,
                me: me.clone(),
                context,
                sockets: Sockets::new(wake.clone(), budget.clone()),
                rooms: LocalRooms::new(link, wake, budget),
                timers: Timers::default(),
                draining: None,
                read_buffer: Vec::new(),
                received: metrics::counter!("chat_gateway_received_bytes_total"),
            })
        })
    }
}
