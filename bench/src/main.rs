//! `bench run` measures our servers and others under the same load. `make bench` builds everything and runs it.

mod backend;
mod environment;
mod http;
mod identity;
mod latency;
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
mod statement_log;
mod suite;

use std::net::SocketAddr;

use clap::{Parser, Subcommand};

use self::{peers::Peer, results::Results, suite::Section};

/// Measures our servers and others, one after the other, on the same machine in the same run.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure and write bench/results.json, the tables of bench/README.md and the plots.
    Run {
        /// Measure only these sections and keep the last results of the others.
        #[arg(long, value_enum, value_delimiter = ',')]
        only: Vec<Section>,
        /// Measure only our gateway, not the servers that it is compared with.
        #[arg(long)]
        alone: bool,
        /// Duration of each measurement in seconds.
        #[arg(long, default_value_t = 4.0)]
        seconds: f64,
    },
    /// Write tables and plots from the last results.
    Report,
    /// Run one of the compared servers.
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
