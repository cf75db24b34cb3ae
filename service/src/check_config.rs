//! `--check-config`: reads the environment as at the start of the process, and connects to nothing.

use std::process::ExitCode;

use crate::env::{Env, Faults, unknown_variables};

/// Reads a configuration from the process's environment. Prints all faults, and variables that no process reads. The
/// exit code is 0 if there is no fault.
pub fn run<T>(read: impl FnOnce(&mut Env<'_>) -> Option<T>) -> ExitCode {
    report(Env::of_process(read))
}

/// Prints the result of reading a configuration.
pub fn report<T>(read: Result<T, Faults>) -> ExitCode {
    for unknown in unknown_variables() {
        eprintln!("warning: {unknown}");
    }
    match read {
        Ok(_) => {
            println!("the configuration is valid");
            ExitCode::SUCCESS
        }
        Err(faults) => {
            eprintln!("error: {faults}");
            ExitCode::FAILURE
        }
    }
}

/// Logs variables that no process reads, at the start of a process.
pub fn log_unknown_variables() {
    for unknown in unknown_variables() {
        tracing::warn!("{unknown}");
    }
}
