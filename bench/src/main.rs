//! `bench run`: measures what is ours beside its peers. `make bench` builds all and runs it.

mod backend;
mod chat;
mod http;
mod identity;
mod learned;
mod load;
mod nats;
mod password;
mod peers;
mod postgres;
mod process;
mod report;
mod results;
mod scenarios;
mod servers;
mod suite;

use std::net::SocketAddr;

use clap::{Parser, Subcommand};

use self::{peers::Peer, results::Results, suite::Section};

/// Measures what is ours and its peers, one after the other, on the same machine in the same run.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure, and write bench/results.json, the tables of bench/README.md and the plots.
    Run {
        /// Only these sections; the others stay as they were measured last.
        #[arg(long, value_enum, value_delimiter = ',')]
        only: Vec<Section>,
        /// Leave the gateway's peers out: for working on the gateway.
        #[arg(long)]
        alone: bool,
        /// Seconds of each measurement.
        #[arg(long, default_value_t = 4.0)]
        seconds: f64,
    },
    /// Write tables and plots of what was measured last.
    Report,
    /// Serve as one of the peers.
    #[command(hide = true)]
    Peer { peer: Peer, address: SocketAddr },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Run { only, alone, seconds } => {
            let mut results = Results::load();
            let all = <Section as clap::ValueEnum>::value_variants();
            let sections = if only.is_empty() { all } else { &only };
            suite::run(sections, alone, seconds, &mut results)?;
            report::write(&results)
        }
        Command::Report => report::write(&Results::load()),
        Command::Peer { peer, address } => peers::run(peer, address),
    }
}
