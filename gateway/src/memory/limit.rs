//! The memory limit of this process: the limit of its container, or else the machine's memory.

use std::{fs, path::Path};

/// The default budget is the memory limit divided by this. Connections, the kernel's buffers and the
/// allocator's reserve need the rest.
const SHARE: u64 = 4;
/// Minimum of a budget: a smaller one would be too small even for a single socket.
pub const LEAST_BUDGET: usize = 1024 * 1024;
/// Assumed if the system reports no limit.
const UNKNOWN: u64 = 1024 * 1024 * 1024;

/// The default budget.
pub fn default_budget() -> usize {
    budget_of(limit_under(Path::new("/")).unwrap_or(UNKNOWN))
}

fn budget_of(limit: u64) -> usize {
    usize::try_from(limit / SHARE).unwrap_or(usize::MAX).max(LEAST_BUDGET)
}

/// The minimum of the machine's memory and the limits of this process's control groups (version 1 and 2) and
/// their parents.
fn limit_under(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let of_groups = groups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let (mount, file) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return None,
        };
        // In a container, the path may be the one on the host, while the mount shows only the group itself.
        let above = Path::new(path.trim_start_matches('/')).ancestors();
        above.filter_map(|group| number(&root.join(mount).join(group).join(file))).min()
    });
    of_groups.chain(machine(root)).min()
}

/// The number in a file; none if it contains `max`.
fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn machine(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str = "MemTotal:        8000000 kB\nMemFree:         1 kB\n";

    fn limit(files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        limit_under(root.path())
    }

    #[test]
    fn the_smallest_limit_is_used() {
        let meminfo = ("proc/meminfo", MEMINFO);
        assert_eq!(limit(&[]), None);
        assert_eq!(limit(&[meminfo]), Some(8_192_000_000));
        let second = ("proc/self/cgroup", "0::/pod/gateway\n");
        assert_eq!(limit(&[meminfo, second]), Some(8_192_000_000));
        assert_eq!(
            limit(&[
                meminfo,
                second,
                ("sys/fs/cgroup/pod/gateway/memory.max", "max\n"),
                ("sys/fs/cgroup/pod/memory.max", "536870912\n"),
            ]),
            Some(536_870_912),
            "a group's limit holds for those in it"
        );
        // The view from inside a container: its own group is the root.
        let own = [meminfo, ("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/memory.max", "1000\n")];
        assert_eq!(limit(&own), Some(1_000));
        let first = [
            meminfo,
            ("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/docker/a\n0::/\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "2000\n"),
            ("sys/fs/cgroup/memory/docker/a/memory.limit_in_bytes", "9223372036854771712\n"),
        ];
        assert_eq!(limit(&first), Some(2_000));
    }

    #[test]
    fn a_default_budget_is_a_share_with_a_minimum() {
        assert_eq!(budget_of(512 * 1024 * 1024), 128 * 1024 * 1024);
        assert_eq!(budget_of(0), LEAST_BUDGET);
        assert!(default_budget() >= LEAST_BUDGET);
    }
}
