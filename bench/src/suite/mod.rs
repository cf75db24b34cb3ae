//! The sections of a run.

mod context;
mod functions;
mod gateway;

use anyhow::Context as _;

use self::context::Suite;
use crate::{identity::Identity, process::pin_self, results::Results, servers::OTHERS};

/// A group of measurements that can be run separately.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Section {
    /// One room of 1,000 members, by messages in flight and size.
    Fanout,
    /// 100 rooms of 10 members.
    Rooms,
    /// Cost per delivery by members per room and by number of rooms.
    Flat,
    /// Latency in one room of 1,000 members at percentages of the maximum throughput.
    Loaded,
    /// Latency of acknowledgements, compared with JetStream alone.
    Acknowledgement,
    /// Latency of deliveries across two gateways, compared with JetStream alone.
    Across,
    /// Memory of 10,000 idle sockets, and of 2,000 in one room and in 500 rooms.
    Idle,
    /// 5,000 sockets that join at once.
    Join,
    /// 1,000 sockets that rejoin at once, each with 200 missed messages.
    Replay,
    /// 200 sockets that send as fast as they receive acknowledgements.
    Send,
    /// Logins with normal and with minimal password hashing.
    Login,
    /// Pages, compared with a server that only runs the same statements.
    Pages,
    /// Pages with a big database, compared with a small one. Takes some minutes.
    Filled,
    /// Throughput and lag of the archive.
    Archive,
}

/// Measures sections one after the other and saves the results after each.
pub fn run(
    sections: &[Section],
    is_gateway_only: bool,
    seconds: f64,
    results: &mut Results,
) -> anyhow::Result<()> {
    // First, so that threads that are started later inherit it.
    pin_self(OTHERS)?;
    results.machine = machine();
    let identity = Identity::new(10_000, 10_100)?;
    let mut suite = Suite { identity, is_gateway_only, seconds, results };
    for section in sections {
        eprintln!("{section:?}");
        suite.measure_section(*section).with_context(|| format!("in the section {section:?}"))?;
        suite.results.save()?;
    }
    Ok(())
}

impl Suite<'_> {
    fn measure_section(&mut self, section: Section) -> anyhow::Result<()> {
        match section {
            Section::Fanout => self.fanout(),
            Section::Rooms => self.rooms(),
            Section::Flat => self.flat(),
            Section::Loaded => self.loaded(),
            Section::Acknowledgement => self.acknowledgement(),
            Section::Across => self.across(),
            Section::Idle => self.idle(),
            Section::Join => self.join(),
            Section::Replay => self.replay(),
            Section::Send => self.send(),
            Section::Login => self.login(),
            Section::Pages => self.pages(),
            Section::Filled => self.filled(),
            Section::Archive => self.archive(),
        }
    }
}

/// Processor and kernel, for the report.
fn machine() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = text.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{} × {cores}, Linux {}", model.map_or("unknown", |(_, model)| model), kernel.trim())
}
