//! Servers that exist only for comparison. Each runs as a child process of this binary.

pub mod bare_pages;
mod floor;
mod socketioxide;

use std::net::SocketAddr;

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum Peer {
    Floor,
    Socketioxide,
    Pages,
}

/// Serves until the process is killed.
pub fn run(peer: Peer, address: SocketAddr) -> anyhow::Result<()> {
    match peer {
        Peer::Floor => floor::run(address),
        Peer::Socketioxide => socketioxide::run(address),
        Peer::Pages => bare_pages::run(address),
    }
}
