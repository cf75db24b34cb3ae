//! The `nats-server` program: where it is, and whether its version is recent enough.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

/// The first version with batched direct get and a reliable `sync_interval`. infra/setup/nats.sh has the same minimum.
const MIN_VERSION: (u32, u32, u32) = (2, 12, 6);

/// The path of a recent `nats-server`: `NATS_SERVER`, `.tools/bin` below the current folder or the repository, or from
/// `PATH`.
pub fn find() -> anyhow::Result<PathBuf> {
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
