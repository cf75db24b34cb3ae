//! NATS for our own processes, and the environment variables that they are started with.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};

use crate::process::{Process, free_address};

/// Password of every NATS user. The server listens on loopback and only during the run.
pub const NATS_PASSWORD: &str = "bench";

/// A NATS server with infra/nats/nats.conf, and variables for its clients.
pub struct Environment {
    pub nats: SocketAddr,
    pub process: Process,
    variables: Vec<(String, String)>,
}

impl Environment {
    /// Starts NATS on these cores with its data in `folder`.
    pub fn start(cores: &str, folder: &Path) -> anyhow::Result<Self> {
        let nats = free_address()?;
        let mut command = Command::new("nats-server");
        command.arg("-c").arg(bench_folder().join("../infra/nats/nats.conf"));
        command.args(["-a", "127.0.0.1", "-p", &nats.port().to_string(), "-sd"]).arg(folder);
        let variables: Vec<(String, String)> =
            ["FUNCTIONS", "GATEWAY", "ARCHIVE", "PROVISION", "SYS"]
                .map(|role| (format!("NATS_{role}_PASSWORD"), NATS_PASSWORD.to_owned()))
                .into();
        command.envs(variables.iter().cloned());
        // A file, because the log has a line for every connection.
        command.arg("-l").arg(folder.join("nats.log"));
        let process = Process::start(&command, cores, nats)?;
        let mut environment = Self { nats, process, variables };
        environment.set("NATS_URL", format!("nats://{nats}"));
        Ok(environment)
    }

    /// Sets a variable for processes that are started later.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.variables.push((name.to_owned(), value.into()));
    }

    /// Runs `provision` for these parts.
    pub fn provision(&self, parts: &str) -> anyhow::Result<()> {
        let mut command = self.command("provision")?;
        let status = command.args(["--only", parts]).env("RUST_LOG", "warn").status();
        ensure!(status.context("cannot run provision")?.success(), "provision failed");
        Ok(())
    }

    /// A command that runs one of our binaries with the variables.
    pub fn command(&self, name: &str) -> anyhow::Result<Command> {
        let mut command = Command::new(binary(name)?);
        command.envs(self.variables.iter().cloned());
        Ok(command)
    }
}

pub fn bench_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The path of a binary in the same folder as this one.
fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    ensure!(path.exists(), "{} is missing; `make bench` builds it", path.display());
    Ok(path)
}
