//! The gateway: its wire protocols, its limits, its memory, and several gateways together.

mod attacked_gateway;
mod conformance;
mod handshakes;
mod limits;
mod polling_close;
mod polling_requests;
mod several_gateways;
mod signing_keys;
mod socket_memory;
mod unauthenticated_memory;
mod worker_failure;
