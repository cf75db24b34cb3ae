//! Results of all sections, stored as JSON, so that a run of single sections keeps the results of the others.

use std::{fs, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    scenarios::{ArchiveSpeed, IdleRooms, IdleSockets, RequestCost, Sample, StormCost},
    servers::Kind,
};

/// A fan-out measurement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FanoutRow {
    pub kind: Kind,
    pub rooms: usize,
    pub members: usize,
    pub in_flight: usize,
    pub size: usize,
    pub sample: Sample,
}

/// Latency at a percentage of the maximum throughput.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LoadedLatency {
    pub kind: Kind,
    pub percent: usize,
    pub rate: f64,
    pub sample: Sample,
}

/// Latencies of one message at a time: through our gateway, and of the parts that this consists of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HopLatencies {
    /// Messages per second.
    pub rate: f64,
    pub ours: Sample,
    /// JetStream without a gateway.
    pub bare: Sample,
    /// A single network hop: a client and a server that only replies.
    pub hop: Sample,
}

/// Logins, and logins with minimal password hashing.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct LoginCost {
    pub logins: RequestCost,
    pub without_password: RequestCost,
}

/// A page served by our functions, and by a server that only runs the same statements.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PageComparison {
    pub page: String,
    pub statements: usize,
    pub ours: RequestCost,
    pub bare: RequestCost,
}

/// A page with a small and with a big database.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SizeComparison {
    pub page: String,
    pub empty: RequestCost,
    pub filled: RequestCost,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Results {
    pub machine: String,
    pub fanout: Vec<FanoutRow>,
    pub rooms: Vec<FanoutRow>,
    pub flat: Vec<FanoutRow>,
    pub loaded: Vec<LoadedLatency>,
    pub acknowledgement: Option<HopLatencies>,
    pub across: Vec<HopLatencies>,
    pub idle: Vec<(Kind, IdleSockets)>,
    pub idle_rooms: Option<IdleRooms>,
    pub join: Vec<(Kind, usize, StormCost)>,
    pub replay: Option<StormCost>,
    pub send: Vec<LoadedLatency>,
    pub login: Option<LoginCost>,
    pub pages: Vec<PageComparison>,
    pub filled: Vec<SizeComparison>,
    pub archive: Option<ArchiveSpeed>,
}

impl Results {
    fn path() -> PathBuf {
        concat!(env!("CARGO_MANIFEST_DIR"), "/results.json").into()
    }

    /// The stored results, or empty ones if the file is missing or has an old format.
    pub fn load() -> Self {
        let text = fs::read_to_string(Self::path()).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    pub fn save(&self) -> anyhow::Result<()> {
        Ok(fs::write(Self::path(), serde_json::to_string_pretty(self)? + "\n")?)
    }
}
