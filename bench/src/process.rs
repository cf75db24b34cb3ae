//! Child processes that are pinned to cores, measured through `/proc`, and killed when the run ends.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

const START_TIMEOUT: Duration = Duration::from_secs(20);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Seconds per clock tick. Linux reports CPU time in hundredths of a second on every platform.
const TICK_SECONDS: f64 = 0.01;

/// A child process, killed when dropped.
pub struct Process(Child);

/// Resources that a process has used since its start.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    pub cpu_seconds: f64,
    /// Calls of `write`, `writev` and the like; the kernel does not count `send` and `sendmsg`.
    pub writes: u64,
    pub rss_bytes: u64,
}

impl std::ops::Add for Usage {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            cpu_seconds: self.cpu_seconds + other.cpu_seconds,
            writes: self.writes + other.writes,
            rss_bytes: self.rss_bytes + other.rss_bytes,
        }
    }
}

/// An address with a port that is currently free.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

impl Process {
    /// Starts `command` on these cores and waits until it listens on `address`.
    pub fn start(command: &Command, cores: &str, address: SocketAddr) -> anyhow::Result<Self> {
        Self::spawn(command, cores, address, Stdio::inherit())
    }

    /// Like [`Self::start`], with standard error written to a file.
    pub fn start_logging(
        command: &Command,
        cores: &str,
        address: SocketAddr,
        log: fs::File,
    ) -> anyhow::Result<Self> {
        Self::spawn(command, cores, address, log.into())
    }

    fn spawn(
        command: &Command,
        cores: &str,
        address: SocketAddr,
        log: Stdio,
    ) -> anyhow::Result<Self> {
        let name = command.get_program().to_string_lossy();
        let child = pinned(command, cores)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            // A process group of its own: Ctrl-C stops the benchmark, which then stops its children.
            .process_group(0)
            .spawn();
        let mut process = Self(child.with_context(|| format!("cannot start {name}"))?);
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = process.0.try_wait()? {
                bail!("{name} exited: {status}");
            }
            if began.elapsed() > START_TIMEOUT {
                bail!("{name} does not listen on {address}");
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        Ok(process)
    }

    pub fn usage(&self) -> anyhow::Result<Usage> {
        let folder = format!("/proc/{}", self.0.id());
        let read = |name: &str| {
            fs::read_to_string(format!("{folder}/{name}"))
                .context("the measured process has exited")
        };
        let ticks = parse_ticks(&read("stat")?);
        let [user, system, ..] = ticks.context("unexpected format of /proc/<pid>/stat")?;
        let field = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        Ok(Usage {
            cpu_seconds: (user + system) * TICK_SECONDS,
            writes: field(&read("io")?, "syscw:").unwrap_or(0),
            rss_bytes: field(&read("status")?, "VmRSS:").unwrap_or(0) * 1024,
        })
    }

    /// CPU time of the process and all its descendants, including those that have exited.
    pub fn cpu_seconds_of_tree(&self) -> anyhow::Result<f64> {
        let mut total_ticks = 0.0;
        let mut pending = vec![self.0.id().to_string()];
        while let Some(id) = pending.pop() {
            let read = |path| fs::read_to_string(format!("/proc/{id}/{path}"));
            let Some(ticks) = read("stat".to_owned()).ok().and_then(|stat| parse_ticks(&stat))
            else {
                // The process has exited meanwhile. Its parent includes it in the next reading.
                continue;
            };
            total_ticks += ticks.iter().sum::<f64>();
            let children = read(format!("task/{id}/children")).unwrap_or_default();
            pending.extend(children.split_whitespace().map(str::to_owned));
        }
        Ok(total_ticks * TICK_SECONDS)
    }

    /// Sends SIGINT to the process group, as Ctrl-C does, and waits for at most `timeout`.
    pub fn interrupt(&mut self, timeout: Duration) {
        let group = format!("-{}", self.0.id());
        // Fails if the processes have already exited.
        let _ = Command::new("kill").args(["-INT", "--", &group]).stderr(Stdio::null()).status();
        let began = Instant::now();
        while began.elapsed() < timeout && matches!(self.0.try_wait(), Ok(None)) {
            std::thread::sleep(POLL_INTERVAL);
        }
    }
}

/// The same command under `taskset`.
fn pinned(command: &Command, cores: &str) -> Command {
    let mut pinned = Command::new("taskset");
    pinned.arg("-c").arg(cores).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => pinned.env(name, value),
            None => pinned.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        pinned.current_dir(folder);
    }
    pinned
}

/// User time, system time, and both times of waited-for children, from `/proc/<pid>/stat`.
fn parse_ticks(stat: &str) -> Option<[f64; 4]> {
    // The command name in parentheses may contain spaces. After it, the times are the 12th to 15th fields.
    let after_name = stat.rsplit(')').next()?;
    let mut fields = after_name.split_whitespace().skip(11).map(|field| field.parse().ok());
    Some([fields.next()??, fields.next()??, fields.next()??, fields.next()??])
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail if it has already exited.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Pins the calling process to cores.
pub fn pin_self(cores: &str) -> anyhow::Result<()> {
    let pid = std::process::id().to_string();
    let status = Command::new("taskset")
        .args(["-cp", cores, &pid])
        .stdout(Stdio::null())
        .status()
        .context("taskset (util-linux) is needed")?;
    anyhow::ensure!(status.success(), "cannot pin to cores {cores}");
    Ok(())
}
