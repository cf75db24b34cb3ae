//! A `nats-server` child process that never outlives this process.

pub mod program;
mod supervisor;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

pub use self::supervisor::keep_running;

const CONFIG: &str = include_str!("../../../nats/nats.conf");
/// The server listens after it has read its streams: 8 s for a million rooms, longer on a slow disk.
const START_TIMEOUT: Duration = Duration::from_secs(5 * 60);
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Size above which a start moves the log aside. Two files of it are kept.
const LOG_BYTES: u64 = 16 * 1024 * 1024;

/// The users of infra/nats/nats.conf. The password of each is the variable `NATS_<ROLE>_PASSWORD`.
pub const ROLES: [&str; 5] = ["functions", "gateway", "archive", "provision", "sys"];

/// A server; stopped when dropped.
pub struct Nats {
    launch: Launch,
    child: Child,
    watcher: Child,
}

/// What is needed to start the server again.
struct Launch {
    program: PathBuf,
    folder: PathBuf,
    port: u16,
    passwords: [(&'static str, String); ROLES.len()],
}

/// The name of the variable with a role's password.
pub fn password_variable(role: &str) -> String {
    format!("NATS_{}_PASSWORD", role.to_uppercase())
}

impl Nats {
    /// Starts a server with its data in `folder`, on `port` or a free port, and waits until it listens. `password`
    /// returns the password of a role.
    pub fn start(
        folder: &Path,
        port: Option<u16>,
        password: impl Fn(&str) -> String,
    ) -> anyhow::Result<Self> {
        let launch = Launch {
            program: program::find()?,
            folder: std::path::absolute(folder)?,
            port: match port {
                Some(port) => port,
                None => TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port(),
            },
            passwords: ROLES.map(|role| (role, password(role))),
        };
        let (child, watcher) = launch.spawn()?;
        let mut nats = Self { launch, child, watcher };
        let deadline = Instant::now() + START_TIMEOUT;
        while !nats.is_listening(deadline)? {
            std::thread::sleep(POLL_INTERVAL);
        }
        Ok(nats)
    }

    /// Starts the server again after it has exited, on the same port, and waits until it listens.
    async fn restart(&mut self) -> anyhow::Result<()> {
        self.dismiss_watcher();
        (self.child, self.watcher) = self.launch.spawn()?;
        let deadline = Instant::now() + START_TIMEOUT;
        while !self.is_listening(deadline)? {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Fails if the server has exited, or does not listen at the deadline. It is killed in the second case.
    fn is_listening(&mut self, deadline: Instant) -> anyhow::Result<bool> {
        // Asked first: another process may listen on the port, and this one has exited because of it.
        if let Some(status) = self.exit_status() {
            let last = self.launch.last_log_line();
            bail!("nats-server exited during startup ({status}): {last}");
        }
        if TcpStream::connect((Ipv4Addr::LOCALHOST, self.launch.port)).is_ok() {
            return Ok(true);
        }
        if Instant::now() > deadline {
            self.kill();
            bail!("nats-server does not listen; its log is {}", self.launch.log().display());
        }
        Ok(false)
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.launch.port)
    }

    pub fn port(&self) -> u16 {
        self.launch.port
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGKILL, which has the effect of a crash, and waits.
    pub fn kill(&mut self) {
        // Both fail if it has already exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// How the server ended; none while it runs.
    fn exit_status(&mut self) -> Option<ExitStatus> {
        // `try_wait` of a child that was not waited for elsewhere does not fail.
        self.child.try_wait().ok().flatten()
    }

    /// Ends the watcher of an exited server without its signal, because another process may have the server's id now.
    fn dismiss_watcher(&mut self) {
        // Both fail if it has already exited.
        let _ = self.watcher.kill();
        let _ = self.watcher.wait();
    }

    fn stop(&mut self) -> io::Result<()> {
        if self.exit_status().is_some() {
            self.dismiss_watcher();
            return Ok(());
        }
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
            let _ = writeln!(io::stderr(), "cannot stop nats-server: {error}");
        }
    }
}

impl Launch {
    /// Starts the server and its watcher.
    fn spawn(&self) -> anyhow::Result<(Child, Child)> {
        fs::create_dir_all(&self.folder)?;
        let config = self.folder.join("nats.conf");
        fs::write(&config, CONFIG)?;
        let log = self.open_log().context("cannot open the log of nats-server")?;
        let child = Command::new(&self.program)
            .arg("-c")
            .arg(&config)
            .args(["-a", "127.0.0.1", "-p", &self.port.to_string()])
            .arg("-sd")
            .arg(self.folder.join("data"))
            .envs(self.passwords.iter().map(|(role, password)| (password_variable(role), password)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A process group of its own, so that Ctrl-C in the terminal does not stop it before its clients.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        let watcher = spawn_watcher(child.id())?;
        Ok((child, watcher))
    }

    fn log(&self) -> PathBuf {
        self.folder.join("nats.log")
    }

    /// Opens the log for appending, so that a restart keeps the reason of the last exit.
    fn open_log(&self) -> io::Result<File> {
        let path = self.log();
        if fs::metadata(&path).is_ok_and(|metadata| metadata.len() > LOG_BYTES) {
            fs::rename(&path, self.folder.join("nats.log.old"))?;
        }
        OpenOptions::new().append(true).create(true).open(path)
    }

    fn last_log_line(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        log.lines().last().unwrap_or_default().to_owned()
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
