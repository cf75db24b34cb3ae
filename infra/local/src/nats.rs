//! A `nats-server` child process that never outlives this process.

use std::{
    io::Write as _,
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

/// The first version with batched direct get and a reliable `sync_interval`. infra/setup/nats.sh has the same minimum.
const MIN_VERSION: (u32, u32, u32) = (2, 12, 6);
const CONFIG: &str = include_str!("../../nats/nats.conf");
const START_TIMEOUT: Duration = Duration::from_secs(10);
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The users of infra/nats/nats.conf. The password of each is the variable `NATS_<ROLE>_PASSWORD`.
pub const ROLES: [&str; 5] = ["functions", "gateway", "archive", "provision", "sys"];

/// A running server; stopped when dropped.
pub struct Nats {
    child: Child,
    watcher: Child,
    port: u16,
}

/// The name of the variable with a role's password.
pub fn password_variable(role: &str) -> String {
    format!("NATS_{}_PASSWORD", role.to_uppercase())
}

/// The path of a recent `nats-server`: `NATS_SERVER`, `.tools/bin` below the current folder or the repository, or from
/// `PATH`.
fn find_program() -> anyhow::Result<PathBuf> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let installed =
        [Path::new(""), repository.as_path()].map(|root| root.join(".tools/bin/nats-server"));
    let path = std::env::var_os("NATS_SERVER")
        .map(PathBuf::from)
        .or_else(|| installed.into_iter().find(|path| path.exists()))
        .unwrap_or_else(|| "nats-server".into());
    let (major, minor, patch) = MIN_VERSION;
    let output = Command::new(&path).arg("--version").output().with_context(|| {
        format!(
            "cannot run {}: nats-server {major}.{minor}.{patch} or newer is needed; \
             `infra/setup.sh run` installs it, or set NATS_SERVER",
            path.display()
        )
    })?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match parse_version(&text) {
        Some(version) if version >= MIN_VERSION => Ok(path),
        _ => bail!(
            "{} is {}; {major}.{minor}.{patch} or newer is needed (`infra/setup.sh run` installs it)",
            path.display(),
            text.trim()
        ),
    }
}

fn parse_version(text: &str) -> Option<(u32, u32, u32)> {
    let numbers = text.split('v').next_back()?.trim();
    let mut parts = numbers.split(['.', '-', ' ']).map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?))
}

impl Nats {
    /// Starts a server with its data in `folder`, on `port` or a free port. `password` returns the password of a role.
    pub fn start(
        folder: &Path,
        port: Option<u16>,
        password: impl Fn(&str) -> String,
    ) -> anyhow::Result<Self> {
        let program = find_program()?;
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
            // A process group of its own, so that Ctrl-C in the terminal does not stop it before its clients.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let watcher = spawn_watcher(child.id())?;
        let mut nats = Self { child, watcher, port };
        nats.wait_until_ready(&folder)?;
        Ok(nats)
    }

    fn wait_until_ready(&mut self, folder: &Path) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            if let Some(status) = self.child.try_wait()? {
                let log = std::fs::read_to_string(folder.join("nats.log")).unwrap_or_default();
                let last = log.lines().last().unwrap_or_default().to_owned();
                bail!("nats-server exited during startup ({status}): {last}");
            }
            if Instant::now() > deadline {
                bail!("nats-server does not listen; its log is {}/nats.log", folder.display());
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn has_exited(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends SIGKILL, which has the effect of a crash, and waits.
    pub fn kill(&mut self) {
        // Both fail if it has already exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn stop(&mut self) -> std::io::Result<()> {
        // The watcher sends SIGTERM when its standard input is closed.
        drop(self.watcher.stdin.take());
        let deadline = Instant::now() + STOP_TIMEOUT;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                self.child.kill()?;
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        self.watcher.wait()?;
        Ok(())
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            // `drop` cannot return an error.
            let _ = writeln!(std::io::stderr(), "cannot stop nats-server: {error}");
        }
    }
}

/// Starts a shell that sends SIGTERM to a process when its standard input is closed. The kernel closes that pipe when
/// this process dies, even after SIGKILL.
fn spawn_watcher(process: u32) -> anyhow::Result<Child> {
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
    fn versions_are_parsed_and_compared() {
        assert_eq!(parse_version("nats-server: v2.15.1\n"), Some((2, 15, 1)));
        assert_eq!(parse_version("nats-server: v2.12.6-beta.1"), Some((2, 12, 6)));
        assert_eq!(parse_version("nonsense"), None);
        assert!(parse_version("nats-server: v2.9.10") < Some(MIN_VERSION));
    }
}
