//! Processes that are measured: pinned, watched through `/proc`, ended with the run.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

const READY_WITHIN: Duration = Duration::from_secs(20);

/// Linux counts CPU time in hundredths of a second, whatever the machine.
const TICK: f64 = 0.01;

/// A child, killed when dropped.
pub struct Process(Child);

/// What a process has used so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    pub cpu_seconds: f64,
    /// `write`, `writev`, … of all kinds but `send` and `sendmsg`.
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

/// A port that is free now.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

impl Process {
    /// Starts `command` on these cores and waits until it listens at `address`.
    pub fn start(command: Command, cores: &str, address: SocketAddr) -> anyhow::Result<Self> {
        Self::spawn(command, cores, address, Stdio::inherit())
    }

    /// The same with what it logs in a file.
    pub fn start_logging(
        command: Command,
        cores: &str,
        address: SocketAddr,
        log: fs::File,
    ) -> anyhow::Result<Self> {
        Self::spawn(command, cores, address, log.into())
    }

    fn spawn(
        mut command: Command,
        cores: &str,
        address: SocketAddr,
        log: Stdio,
    ) -> anyhow::Result<Self> {
        let mut pinned = Command::new("taskset");
        pinned.arg("-c").arg(cores).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => pinned.env(name, value),
                None => pinned.env_remove(name),
            };
        }
        let name = command.get_program().to_string_lossy().into_owned();
        if let Some(folder) = command.get_current_dir() {
            pinned.current_dir(folder);
        }
        drop(std::mem::replace(&mut command, pinned));
        // Not the terminal's: Ctrl-C ends the run, and the run ends its children.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.process_group(0).spawn();
        let mut process = Self(child.with_context(|| format!("cannot start {name}"))?);
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = process.0.try_wait()? {
                bail!("{name} ended: {status}");
            }
            if began.elapsed() > READY_WITHIN {
                bail!("{name} does not listen at {address}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(process)
    }

    /// What it has used since it began.
    pub fn usage(&self) -> anyhow::Result<Usage> {
        let folder = format!("/proc/{}", self.0.id());
        let read = |name: &str| {
            fs::read_to_string(format!("{folder}/{name}")).context("the measured process is gone")
        };
        let ticks = ticks(&read("stat")?);
        let [user, system, ..] = ticks.context("an unknown /proc/<pid>/stat")?;
        let field = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        Ok(Usage {
            cpu_seconds: (user + system) * TICK,
            writes: field(&read("io")?, "syscw:").unwrap_or(0),
            rss_bytes: field(&read("status")?, "VmRSS:").unwrap_or(0) * 1024,
        })
    }

    /// CPU of the process and all below it, those that ended included.
    pub fn cpu_seconds_of_all(&self) -> anyhow::Result<f64> {
        let mut ticks_of_all = 0.0;
        let mut left = vec![self.0.id().to_string()];
        while let Some(id) = left.pop() {
            let read = |path| fs::read_to_string(format!("/proc/{id}/{path}"));
            let Some(ticks) = read("stat".to_owned()).ok().and_then(|stat| ticks(&stat)) else {
                // One that ended meanwhile is counted with its parent the next time.
                continue;
            };
            ticks_of_all += ticks.iter().sum::<f64>();
            let children = read(format!("task/{id}/children")).unwrap_or_default();
            left.extend(children.split_whitespace().map(str::to_owned));
        }
        Ok(ticks_of_all * TICK)
    }

    /// Has it and what it started end by themselves, as Ctrl-C does, and waits.
    pub fn interrupt(&mut self, within: Duration) {
        let group = format!("-{}", self.0.id());
        // One that ended by itself needs no signal.
        let _ = Command::new("kill").args(["-INT", "--", &group]).stderr(Stdio::null()).status();
        let began = Instant::now();
        while began.elapsed() < within && matches!(self.0.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// User and system time of `/proc/<pid>/stat`, and those of the children that it waited for.
fn ticks(stat: &str) -> Option<[f64; 4]> {
    // The name in parentheses may hold blanks; after it, the four are 12th to 15th.
    let after_name = stat.rsplit(')').next()?;
    let mut fields = after_name.split_whitespace().skip(11).map(|field| field.parse().ok());
    Some([fields.next()??, fields.next()??, fields.next()??, fields.next()??])
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that ended by itself needs neither.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Pins the calling process.
pub fn pin_self(cores: &str) -> anyhow::Result<()> {
    let pid = std::process::id().to_string();
    let status = Command::new("taskset")
        .args(["-cp", cores, &pid])
        .stdout(Stdio::null())
        .status()
        .context("taskset (util-linux) is needed")?;
    anyhow::ensure!(status.success(), "cannot pin to core {cores}");
    Ok(())
}
