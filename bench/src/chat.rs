//! What our own processes stand on: NATS with its streams, and the variables that lead there.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};

use crate::process::{Process, free_address};

/// The password of every NATS role of a run; the server listens on loopback while it runs.
pub const PASSWORD: &str = "bench";

/// NATS as we run it.
pub struct Chat {
    pub nats: SocketAddr,
    pub process: Process,
    variables: Vec<(String, String)>,
}

impl Chat {
    /// Starts NATS on these cores, its files in `folder`.
    pub fn start(cores: &str, folder: &Path) -> anyhow::Result<Self> {
        let nats = free_address()?;
        let mut command = Command::new("nats-server");
        command.arg("-c").arg(bench_folder().join("../infra/nats/nats.conf"));
        command.args(["-a", "127.0.0.1", "-p", &nats.port().to_string(), "-sd"]).arg(folder);
        let variables: Vec<(String, String)> =
            ["FUNCTIONS", "GATEWAY", "ARCHIVE", "PROVISION", "SYS"]
                .map(|role| (format!("NATS_{role}_PASSWORD"), PASSWORD.to_owned()))
                .into();
        command.envs(variables.iter().cloned());
        // Its log of every connection would only be in the way.
        command.arg("-l").arg(folder.join("nats.log"));
        let process = Process::start(command, cores, nats)?;
        let mut chat = Self { nats, process, variables };
        chat.set("NATS_URL", format!("nats://{nats}"));
        Ok(chat)
    }

    /// Sets a variable for what is started next.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.variables.push((name.to_owned(), value.into()));
    }

    /// Runs the release step for these parts.
    pub fn provision(&self, parts: &str) -> anyhow::Result<()> {
        let mut command = self.command("provision")?;
        let status = command.args(["--only", parts]).env("RUST_LOG", "warn").status();
        ensure!(status.context("cannot run provision")?.success(), "provision failed");
        Ok(())
    }

    /// One of our binaries, with the variables.
    pub fn command(&self, name: &str) -> anyhow::Result<Command> {
        let mut command = Command::new(sibling(name)?);
        command.envs(self.variables.iter().cloned());
        Ok(command)
    }
}

pub fn bench_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A binary that was built beside this one.
fn sibling(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    ensure!(path.exists(), "{} is missing; `make bench` builds it", path.display());
    Ok(path)
}
