//! The metrics of all processes, in one table. Help texts, initial values and docs/metrics.md are made from it; a story
//! compares it with the code, the alert rules and a real scrape.

mod definition;
#[cfg(test)]
mod document;
mod emf;
mod process;
mod readiness;
mod register;
mod server;
mod table;

pub use self::{
    definition::{Group, Kind, Label, Metric, Part},
    emf::{flush, install},
    readiness::set_ready,
    server::serve,
    table::GROUPS,
};
