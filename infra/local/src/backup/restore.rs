//! `local restore`.

use std::{
    fs::{self, File},
    path::Path,
};

use anyhow::Context as _;

use super::{Summary, copy, manifest::Manifest};
use crate::data_folder::{self, DataFolder, RESTORING};

/// Restores a backup into a new or empty data folder. If it fails, the folder is left empty.
pub fn restore(backup: &Path, data: &Path) -> anyhow::Result<Summary> {
    data_folder::make_new_files_private();
    let manifest = Manifest::read(backup)?;
    copy::create_empty(data)?;
    let folder = DataFolder::open(data)?;
    let restored = copy_all(backup, &manifest, data, &folder);
    if restored.is_err() {
        empty(data).with_context(|| format!("cannot empty {}", data.display()))?;
    }
    restored?;
    Ok(manifest.summary())
}

fn copy_all(
    backup: &Path,
    manifest: &Manifest,
    data: &Path,
    folder: &DataFolder,
) -> anyhow::Result<()> {
    let marker = folder.join(RESTORING);
    File::create(&marker)?.sync_all()?;
    copy::sync_folders(data)?;
    for wanted in &manifest.files {
        let path = wanted.path.display();
        let found = copy::copy(backup, data, &wanted.path)?;
        let found = found.with_context(|| format!("{path} is missing in the backup"))?;
        anyhow::ensure!(
            (found.bytes, &found.sha256) == (wanted.bytes, &wanted.sha256),
            "{path} was changed since the backup: its checksum does not match"
        );
    }
    copy::sync_folders(data)?;
    fs::remove_file(marker)?;
    Ok(copy::sync_folders(data)?)
}

fn empty(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
