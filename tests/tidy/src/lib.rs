//! Architecture rules that are checked against the sources of the workspace.
//!
//! The tests in `tests/rules.rs` fail when a rule is broken; `cargo run -p tidy` prints a report of
//! all rules and the numbers behind them, for this checkout or for the folder given as argument.

pub mod cycles;
pub mod dependencies;
pub mod documents;
pub mod edges;
pub mod imports;
pub mod measures;
pub mod migrations;
pub mod module;
pub mod names;
pub mod sizes;
pub mod tokens;
pub mod workspace;
