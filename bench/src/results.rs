//! What was measured, kept as JSON between runs of single sections.

use std::{fs, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    scenarios::{Archived, Asked, Idle, IdleRooms, Sample, Storm},
    servers::Kind,
};

/// A fan-out that was measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    pub kind: Kind,
    pub rooms: usize,
    pub members: usize,
    pub in_flight: usize,
    pub size: usize,
    pub sample: Sample,
}

/// A share of the maximum, for a while.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Loaded {
    pub kind: Kind,
    pub percent: usize,
    pub rate: f64,
    pub sample: Sample,
}

/// One message at a time, ours and JetStream's own.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hops {
    /// Messages a second; the second one is with load.
    pub rate: f64,
    pub ours: Sample,
    /// JetStream without a gateway.
    pub bare: Sample,
    /// A client and a server that only answers.
    pub hop: Sample,
}

/// A login, and one whose password costs nothing.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct LoggedIn {
    pub logins: Asked,
    pub without_password: Asked,
}

/// A page by ours and by a handler that runs its statements and nothing else.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Compared {
    pub page: String,
    pub statements: usize,
    pub ours: Asked,
    pub bare: Asked,
}

/// A page in a big database and in a nearly empty one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Grown {
    pub page: String,
    pub empty: Asked,
    pub filled: Asked,
}

/// See the module.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Results {
    pub machine: String,
    pub fanout: Vec<Row>,
    pub rooms: Vec<Row>,
    pub flat: Vec<Row>,
    pub loaded: Vec<Loaded>,
    pub acknowledgement: Option<Hops>,
    pub across: Vec<Hops>,
    pub idle: Vec<(Kind, Idle)>,
    pub idle_rooms: Option<IdleRooms>,
    pub join: Vec<(Kind, usize, Storm)>,
    pub replay: Option<Storm>,
    pub send: Vec<Loaded>,
    pub login: Option<LoggedIn>,
    pub pages: Vec<Compared>,
    pub filled: Vec<Grown>,
    pub archive: Option<Archived>,
}

impl Results {
    fn path() -> PathBuf {
        concat!(env!("CARGO_MANIFEST_DIR"), "/results.json").into()
    }

    /// The last ones, or none.
    pub fn load() -> Self {
        let text = fs::read_to_string(Self::path()).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    pub fn save(&self) -> anyhow::Result<()> {
        Ok(fs::write(Self::path(), serde_json::to_string_pretty(self)? + "\n")?)
    }
}
