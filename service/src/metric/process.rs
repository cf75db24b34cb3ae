//! Metrics of the process itself, read from `/proc` when metrics are collected; there are none on other systems.

use std::{
    fs,
    sync::LazyLock,
    time::{SystemTime, UNIX_EPOCH},
};

/// Linux reports processor time in this unit, `USER_HZ`, on every architecture that the processes run on.
const TICKS_PER_SECOND: u64 = 100;

/// Noted when metrics are registered, a moment after the process was started.
static STARTED: LazyLock<SystemTime> = LazyLock::new(SystemTime::now);

/// What `/proc` tells about the process.
#[derive(Debug, Default)]
struct Usage {
    cpu_seconds: u64,
    resident_bytes: u64,
    open_fds: u64,
    max_fds: Option<u64>,
}

/// Notes the time of the start.
pub fn start() {
    LazyLock::force(&STARTED);
}

/// Sets the metrics.
pub fn update() {
    let started = STARTED.duration_since(UNIX_EPOCH).unwrap_or_default();
    metrics::gauge!("process_start_time_seconds").set(started.as_secs_f64());
    let Some(usage) = Usage::read() else { return };
    metrics::counter!("process_cpu_seconds_total").absolute(usage.cpu_seconds);
    metrics::gauge!("process_resident_memory_bytes").set(usage.resident_bytes as f64);
    metrics::gauge!("process_open_fds").set(usage.open_fds as f64);
    if let Some(max) = usage.max_fds {
        metrics::gauge!("process_max_fds").set(max as f64);
    }
}

impl Usage {
    fn read() -> Option<Self> {
        let file = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).ok();
        Some(Self {
            cpu_seconds: cpu_seconds(&file("stat")?)?,
            resident_bytes: resident_bytes(&file("status")?)?,
            open_fds: open_fds()?,
            max_fds: max_fds(&file("limits")?),
        })
    }
}

/// The time in user and kernel mode, fields 14 and 15. Field 2 is a name in parentheses, which may have spaces.
fn cpu_seconds(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut ticks = rest.split_whitespace().skip(11).map(str::parse::<u64>);
    Some((ticks.next()?.ok()? + ticks.next()?.ok()?) / TICKS_PER_SECOND)
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// The soft limit. None if it is unlimited.
fn max_fds(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The folder's size is the number of descriptors since Linux 6.2. Before, its entries have to be counted, which takes
/// some ten milliseconds with 50,000 sockets.
fn open_fds() -> Option<u64> {
    const FOLDER: &str = "/proc/self/fd";
    match fs::metadata(FOLDER).ok()?.len() {
        // Reading the folder opens one more.
        0 => Some((fs::read_dir(FOLDER).ok()?.count() as u64).saturating_sub(1)),
        count => Some(count),
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn usage_is_read_from_proc() {
        let before = Usage::read().unwrap();
        let files: Vec<_> = (0..20).map(|_| fs::File::open("/proc/self/stat").unwrap()).collect();
        let usage = Usage::read().unwrap();
        // Other tests of the process open and close files too.
        assert!(usage.open_fds >= before.open_fds.saturating_sub(10) + 10, "{before:?} {usage:?}");
        drop(files);
        assert!(usage.resident_bytes > 1 << 20, "{usage:?}");
        assert!(usage.max_fds.is_none_or(|max| max > usage.open_fds), "{usage:?}");
    }

    #[test]
    fn a_process_name_may_have_spaces_and_parentheses() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 900 0 0 0 250 150 0 0 20 0 9 0 100 1000 200";
        assert_eq!(cpu_seconds(stat), Some(4));
    }
}
