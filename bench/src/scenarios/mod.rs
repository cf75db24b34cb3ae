//! What is done to a server, and what is measured while it is done.

mod archive;
mod fanout;
mod memory;
mod pages;
mod storms;

use serde::{Deserialize, Serialize};

pub use self::{
    archive::{Archived, archive},
    fanout::{Fanout, fanout, open_loop},
    memory::{Idle, IdleRooms, idle, idle_rooms},
    pages::{Asked, FILLED_PAGES, PAGES, alone, beside_bare, logins},
    storms::{Storm, join_storm, replay_storm},
};
use crate::{load::Crowd, process::Usage, servers::Server};

/// Quantiles in microseconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Quantiles {
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
}

impl Quantiles {
    /// Of nanoseconds.
    pub fn of(histogram: &hdrhistogram::Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
        Self { p50: at(0.5), p99: at(0.99), p999: at(0.999) }
    }
}

/// What a span of a run came to.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Sample {
    pub seconds: f64,
    pub cpu_seconds: f64,
    pub deliveries: u64,
    pub acknowledged: u64,
    pub writes: u64,
    /// Received by the generator.
    pub bytes: u64,
    pub delivery: Quantiles,
    pub acknowledgement: Quantiles,
}

impl Sample {
    pub fn per_cpu_second(&self) -> f64 {
        self.deliveries as f64 / self.cpu_seconds
    }

    pub fn writes_per_delivery(&self) -> f64 {
        self.writes as f64 / self.deliveries as f64
    }
}

/// The beginning of a span.
struct Mark {
    at: u64,
    usage: Usage,
    deliveries: u64,
    acknowledged: u64,
    received: u64,
}

impl Mark {
    /// Begins a span; latencies before it are forgotten.
    fn begin(server: &Server, crowd: &mut Crowd) -> anyhow::Result<Self> {
        crowd.tally.forget_latencies();
        Ok(Self {
            at: crowd.tally.now(),
            usage: server.usage()?,
            deliveries: crowd.tally.deliveries(),
            acknowledged: crowd.tally.acknowledged,
            received: crowd.received(),
        })
    }

    fn end(&self, server: &Server, crowd: &Crowd) -> anyhow::Result<Sample> {
        let usage = server.usage()?;
        let tally = &crowd.tally;
        Ok(Sample {
            seconds: (tally.now() - self.at) as f64 / 1e9,
            cpu_seconds: usage.cpu_seconds - self.usage.cpu_seconds,
            deliveries: tally.deliveries() - self.deliveries,
            acknowledged: tally.acknowledged - self.acknowledged,
            writes: usage.writes - self.usage.writes,
            bytes: crowd.received() - self.received,
            delivery: Quantiles::of(&tally.delivery),
            acknowledgement: Quantiles::of(&tally.acknowledgement),
        })
    }
}
