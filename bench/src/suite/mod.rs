//! The sections of a run, in order.

mod functions;
mod gateway;

use anyhow::Context as _;

use crate::{
    identity::Identity,
    process::pin_self,
    results::Results,
    servers::{Kind, OTHERS},
};

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Section {
    /// One room of 1,000, by messages in flight and size.
    Fanout,
    /// 100 rooms of 10.
    Rooms,
    /// Cost per delivery by members and by rooms.
    Flat,
    /// Latency of one room of 1,000 at shares of the maximum.
    Loaded,
    /// Acknowledgements beside a bare JetStream publish.
    Acknowledgement,
    /// Delivery across two gateways beside a bare publish and core hop.
    Across,
    /// 10,000 sockets that do nothing; 2,000 in one room and in 500.
    Idle,
    /// 5,000 at once.
    Join,
    /// 1,000 come back to 200 missed messages each.
    Replay,
    /// 200 sockets send as fast as they are acknowledged.
    Send,
    /// A login beside what its password alone costs.
    Login,
    /// Pages beside a handler that runs the same statements and nothing else.
    Pages,
    /// Pages of a big database beside those of a nearly empty one; takes some minutes.
    Filled,
    /// Events from the stream into the database.
    Archive,
}

struct Suite<'a> {
    identity: Identity,
    alone: bool,
    seconds: f64,
    results: &'a mut Results,
}

/// Measures sections, one after the other; what was measured is saved after each.
pub fn run(
    sections: &[Section],
    alone: bool,
    seconds: f64,
    results: &mut Results,
) -> anyhow::Result<()> {
    // Before the keys are made: their threads, if any, are to be pinned too.
    pin_self(OTHERS)?;
    results.machine = machine();
    let identity = Identity::new(10_000, 10_100)?;
    let mut suite = Suite { identity, alone, seconds, results };
    for section in sections {
        eprintln!("{section:?}");
        suite.section(*section).with_context(|| format!("in the section {section:?}"))?;
        suite.results.save()?;
    }
    Ok(())
}

impl Suite<'_> {
    fn section(&mut self, section: Section) -> anyhow::Result<()> {
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

    fn peers<'k>(&self, kinds: &'k [Kind]) -> &'k [Kind] {
        if self.alone { &kinds[..1] } else { kinds }
    }
}

/// What it was measured on.
fn machine() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = text.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{} × {cores}, Linux {}", model.map_or("unknown", |(_, model)| model), kernel.trim())
}
