//! The load generator: thousands of clients on one thread. It uses epoll and encodes frames itself to need little CPU.

mod clients;
mod connections;
mod stats;
mod wire_protocol;

pub use self::{
    clients::{ClientPlan, Clients},
    wire_protocol::WireProtocol,
};
