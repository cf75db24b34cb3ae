//! The table.

mod functions;
mod gateway;
mod shared;

use crate::metric::definition::{Group, Part};

pub const GROUPS: &[Group] = &[
    Group { title: "All processes", parts: &[], metrics: shared::ALL },
    Group {
        title: "HTTP: functions and gateway",
        parts: &[Part::Functions, Part::Gateway],
        metrics: shared::HTTP,
    },
    Group { title: "Gateway", parts: &[Part::Gateway], metrics: gateway::GATEWAY },
    Group {
        title: "Database and storage: functions and archive",
        parts: &[Part::Functions, Part::Archive],
        metrics: functions::STORE,
    },
    Group { title: "Functions", parts: &[Part::Functions], metrics: functions::FUNCTIONS },
    Group { title: "Archive", parts: &[Part::Archive], metrics: functions::ARCHIVE },
    Group { title: "One box: local", parts: &[Part::Local], metrics: shared::LOCAL },
];
