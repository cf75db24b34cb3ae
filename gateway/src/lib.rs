//! The WebSocket gateway: Socket.IO on one side, NATS on the other. It holds no state that a restart
//! would lose.
//!
//! The path of a message from a client: `http` → a `worker` (`wire`, `ClientEvent`) → `session` → the
//! worker's publisher → `bus`. The path to clients: NATS → `subscriptions` → `room` → the workers.

mod batch;
mod bus;
mod command;
mod config;
mod ephemeral;
mod gateway;
mod health;
mod http;
mod keys;
mod mailbox;
mod memory;
mod peers;
mod rate;
mod revocations;
mod revoked;
mod room;
mod session;
mod subscriptions;
mod wire;
mod worker;

pub use self::{
    config::{Config, KeySource, Limits},
    gateway::Gateway,
};
