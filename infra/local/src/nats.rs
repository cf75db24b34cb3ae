//! A `nats-server` of our own, as a child that never outlives us.

use std::{
    io::Write as _,
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

/// The oldest version that has what we use: batched direct get, and a sound `sync_interval`.
const OLDEST: (u32, u32, u32) = (2, 12, 6);
/// The same file that compose and the tests use.
const CONFIG: &str = include_str!("../../nats/nats.conf");
const READY_WITHIN: Duration = Duration::from_secs(10);
const STOPS_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The roles of infra/nats/nats.conf, each with its password in `NATS_<ROLE>_PASSWORD`.
pub const ROLES: [&str; 5] = ["functions", "gateway", "archive", "provision", "sys"];

/// A running server; stopped when dropped.
pub struct Nats {
    child: Child,
    watcher: Child,
    port: u16,
}

/// The variable with a role's password.
pub fn password_variable(role: &str) -> String {
    format!("NATS_{}_PASSWORD", role.to_uppercase())
}

/// Finds a `nats-server` that is new enough: `NATS_SERVER`, then `.tools/bin`, then `PATH`.
pub fn find() -> anyhow::Result<PathBuf> {
    let named = std::env::var_os("NATS_SERVER").map(PathBuf::from);
    let ours = Some(PathBuf::from(".tools/bin/nats-server")).filter(|path| path.exists());
    let in_repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/bin/nats-server");
    let in_repository = Some(in_repository).filter(|path| path.exists());
    let path = named.or(ours).or(in_repository).unwrap_or_else(|| "nats-server".into());
    let output = Command::new(&path).arg("--version").output();
    let (major, minor, patch) = OLDEST;
    let output = output.with_context(|| {
        format!(
            "cannot run {}: nats-server {major}.{minor}.{patch} or newer is needed; \
             `infra/setup.sh run` gets it, or set NATS_SERVER",
            path.display()
        )
    })?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match version(&text) {
        Some(found) if found >= OLDEST => Ok(path),
        _ => bail!(
            "{} is {}; {major}.{minor}.{patch} or newer is needed (`infra/setup.sh run` gets it)",
            path.display(),
            text.trim()
        ),
    }
}

fn version(text: &str) -> Option<(u32, u32, u32)> {
    let numbers = text.split('v').next_back()?.trim();
    let mut parts = numbers.split(['.', '-', ' ']).map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?))
}

impl Nats {
    /// Starts a server that keeps its data in `folder`, on `port` or a free one. `password` gives
    /// each role's.
    pub fn start(
        folder: &Path,
        port: Option<u16>,
        password: impl Fn(&str) -> String,
    ) -> anyhow::Result<Self> {
        let program = find()?;
        let folder = std::path::absolute(folder)?;
        std::fs::create_dir_all(&folder)?;
        let config = folder.join("nats.conf");
        std::fs::write(&config, CONFIG)?;
        let log = std::fs::File::create(folder.join("nats.log"))?;
        let port = match port {
            Some(port) => port,
            None => TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port(),
        };
        let child = Command::new(&program)
            .arg("-c")
            .arg(&config)
            .args(["-a", "127.0.0.1", "-p", &port.to_string()])
            .arg("-sd")
            .arg(folder.join("data"))
            .envs(ROLES.map(|role| (password_variable(role), password(role))))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A Ctrl-C in the terminal is for us; the child ends after all that needs it.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let watcher = watch(child.id())?;
        let mut nats = Self { child, watcher, port };
        nats.wait_until_ready(&folder)?;
        Ok(nats)
    }

    fn wait_until_ready(&mut self, folder: &Path) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            if let Some(status) = self.child.try_wait()? {
                let log = std::fs::read_to_string(folder.join("nats.log")).unwrap_or_default();
                let last = log.lines().last().unwrap_or_default().to_owned();
                bail!("nats-server ended at its start ({status}): {last}");
            }
            if Instant::now() > deadline {
                bail!("nats-server does not answer; its log is {}/nats.log", folder.display());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// It ended by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn stop(&mut self) -> std::io::Result<()> {
        // Closing its input is how the watcher is told to send SIGTERM.
        drop(self.watcher.stdin.take());
        let deadline = Instant::now() + STOPS_WITHIN;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                self.child.kill()?;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        self.watcher.wait()?;
        Ok(())
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            // Nobody is left to return it to.
            let _ = writeln!(std::io::stderr(), "nats-server could not be stopped: {error}");
        }
    }
}

/// Sends SIGTERM to a process when our end of a pipe is closed: by us, or by our death of any kind.
fn watch(process: u32) -> anyhow::Result<Child> {
    Command::new("/bin/sh")
        .args(["-c", r#"read -r _; kill "$1""#, "watch", &process.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .context("cannot start /bin/sh")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_compared() {
        assert_eq!(version("nats-server: v2.15.1\n"), Some((2, 15, 1)));
        assert_eq!(version("nats-server: v2.12.6-beta.1"), Some((2, 12, 6)));
        assert_eq!(version("nonsense"), None);
        assert!(version("nats-server: v2.9.10") < Some(OLDEST));
    }
}
