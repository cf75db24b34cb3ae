//! Measurements between two points in time of a running scenario.

use serde::{Deserialize, Serialize};

use crate::{latency::Quantiles, load::Clients, process::Usage, servers::Server};

/// What was measured during a time span.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Sample {
    pub seconds: f64,
    pub cpu_seconds: f64,
    pub deliveries: u64,
    pub acknowledged: u64,
    /// Write system calls of the server.
    pub writes: u64,
    /// Bytes received by the load generator.
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

/// The counters at the start of a time span.
pub struct SampleStart {
    pub at: u64,
    usage: Usage,
    deliveries: u64,
    acknowledged: u64,
    received: u64,
}

impl SampleStart {
    /// Starts a time span and discards earlier latencies.
    pub fn begin(server: &Server, clients: &mut Clients) -> anyhow::Result<Self> {
        clients.stats.reset_latencies();
        Ok(Self {
            at: clients.stats.now(),
            usage: server.usage()?,
            deliveries: clients.stats.deliveries(),
            acknowledged: clients.stats.acknowledged,
            received: clients.received(),
        })
    }

    pub fn end(&self, server: &Server, clients: &Clients) -> anyhow::Result<Sample> {
        let usage = server.usage()?;
        let stats = &clients.stats;
        Ok(Sample {
            seconds: (stats.now() - self.at) as f64 / 1e9,
            cpu_seconds: usage.cpu_seconds - self.usage.cpu_seconds,
            deliveries: stats.deliveries() - self.deliveries,
            acknowledged: stats.acknowledged - self.acknowledged,
            writes: usage.writes - self.usage.writes,
            bytes: clients.received() - self.received,
            delivery: Quantiles::of(&stats.delivery),
            acknowledgement: Quantiles::of(&stats.acknowledgement),
        })
    }
}
