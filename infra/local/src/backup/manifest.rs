//! `backup.json`, the list of the files of a backup. It is written last: a folder without it is no complete backup.

use std::{
    fs::{self, File},
    path::{Component, Path, PathBuf},
};

use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Summary;
use crate::secrets;

const NAME: &str = "backup.json";
/// Raised when an older version could not restore a backup of this one.
const FORMAT: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
pub struct Manifest {
    format: u32,
    /// The version of `local` that made the backup.
    version: String,
    /// Every message acknowledged before this time is in the backup.
    pub begun_at: DateTime<Utc>,
    pub files: Vec<FileEntry>,
    /// Objects that the database refers to and that were deleted while the backup was made.
    pub missing: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct FileEntry {
    /// Relative to the backup, and to the data folder after the restore.
    pub path: PathBuf,
    pub bytes: u64,
    /// In hexadecimal.
    pub sha256: String,
}

/// The part that every format has.
#[derive(Deserialize)]
struct AnyFormat {
    format: u32,
}

impl Manifest {
    pub fn new(begun_at: DateTime<Utc>) -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self { format: FORMAT, version, begun_at, files: Vec::new(), missing: Vec::new() }
    }

    pub fn summary(&self) -> Summary {
        Summary {
            files: self.files.len(),
            bytes: self.files.iter().map(|file| file.bytes).sum(),
            missing: self.missing.len(),
        }
    }

    /// Writes the list, which is on disk when this returns.
    pub fn write(&self, backup: &Path) -> anyhow::Result<()> {
        let path = backup.join(NAME);
        secrets::write_private(&path, &serde_json::to_string_pretty(self)?)?;
        File::open(path)?.sync_all()?;
        Ok(File::open(backup)?.sync_all()?)
    }

    pub fn read(backup: &Path) -> anyhow::Result<Self> {
        let path = backup.join(NAME);
        let text = fs::read_to_string(&path).with_context(|| {
            format!("{} is not a complete backup: cannot read {NAME}", backup.display())
        })?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let AnyFormat { format } = serde_json::from_str(text)?;
        if format != FORMAT {
            bail!("it has format {format}, and this version of `local` restores format {FORMAT}");
        }
        let manifest: Self = serde_json::from_str(text)?;
        for FileEntry { path, .. } in &manifest.files {
            let is_inside = path.components().all(|part| matches!(part, Component::Normal(_)));
            anyhow::ensure!(is_inside, "{} is not a path inside the backup", path.display());
        }
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_path(path: &str) -> anyhow::Result<Manifest> {
        let mut manifest = Manifest::new(Utc::now());
        manifest.files.push(FileEntry { path: path.into(), bytes: 1, sha256: "00".to_owned() });
        Manifest::parse(&serde_json::to_string(&manifest)?)
    }

    #[test]
    fn paths_outside_of_the_backup_are_refused() {
        assert!(with_path("s3/files/a").is_ok());
        for path in ["/etc/passwd", "../chat.db", "s3/../../chat.db"] {
            assert!(with_path(path).is_err(), "{path}");
        }
    }

    #[test]
    fn another_format_is_refused_whatever_it_contains() {
        let error = Manifest::parse(r#"{"format": 2, "parts": {}}"#).unwrap_err();
        assert!(error.to_string().contains("it has format 2"), "{error}");
    }
}
