//! Peers that are written here: what is compared with ours and is not ours to ship.

mod floor;
mod oxide;
pub mod pages;

use std::net::SocketAddr;

/// Which one to run.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum Peer {
    Floor,
    Socketioxide,
    Pages,
}

/// Serves until it is killed.
pub fn run(peer: Peer, address: SocketAddr) -> anyhow::Result<()> {
    match peer {
        Peer::Floor => floor::run(address),
        Peer::Socketioxide => oxide::run(address),
        Peer::Pages => pages::run(address),
    }
}
