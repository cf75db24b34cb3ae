//! Peers that are written here: what the gateway is compared with and is not ours to ship.

mod floor;
mod oxide;

use std::net::SocketAddr;

/// Which one to run.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum Peer {
    Floor,
    Socketioxide,
}

/// Serves until it is killed.
pub fn run(peer: Peer, address: SocketAddr) -> anyhow::Result<()> {
    match peer {
        Peer::Floor => floor::run(address),
        Peer::Socketioxide => oxide::run(address),
    }
}
