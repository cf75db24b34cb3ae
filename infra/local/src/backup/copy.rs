//! Copies of single files, with their checksums.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

use super::manifest::FileEntry;

const BUFFER_BYTES: usize = 256 * 1024;

/// The entry of an existing file of a folder, which is on disk when this returns.
pub fn entry_of(folder: &Path, path: &Path) -> anyhow::Result<FileEntry> {
    let read = || {
        let mut file = File::open(folder.join(path))?;
        let entry = hash(&mut file, io::sink(), path)?;
        file.sync_all()?;
        Ok(entry)
    };
    read().map_err(|error: io::Error| failed(error, path))
}

/// Copies a file from one folder to another, creates the folders that it is in, and returns its entry. None if the
/// file does not exist. The copy is on disk when this returns.
pub fn copy(from: &Path, to: &Path, path: &Path) -> anyhow::Result<Option<FileEntry>> {
    let write = || {
        let mut source = match File::open(from.join(path)) {
            Ok(source) => source,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let target = to.join(path);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut target = File::create_new(target)?;
        let entry = hash(&mut source, &mut target, path)?;
        target.sync_all()?;
        Ok(Some(entry))
    };
    write().map_err(|error| failed(error, path))
}

/// Makes the names of new files durable: syncs a folder and all folders below it.
pub fn sync_folders(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    File::open(folder)?.sync_all()
}

/// Creates a folder, or accepts an empty one.
pub fn create_empty(folder: &Path) -> anyhow::Result<()> {
    let is_empty = || {
        fs::create_dir_all(folder)?;
        io::Result::Ok(fs::read_dir(folder)?.next().is_none())
    };
    let is_empty =
        is_empty().with_context(|| format!("cannot use the folder {}", folder.display()))?;
    anyhow::ensure!(is_empty, "{} is not empty; give a new folder", folder.display());
    Ok(())
}

fn hash(source: &mut File, mut target: impl io::Write, path: &Path) -> io::Result<FileEntry> {
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = source.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        target.write_all(&buffer[..read])?;
        bytes += read as u64;
    }
    let sha256 = hex::encode(hash.finalize());
    Ok(FileEntry { path: path.to_owned(), bytes, sha256 })
}

fn failed(error: io::Error, path: &Path) -> anyhow::Error {
    anyhow::Error::new(error).context(format!("cannot copy {}", path.display()))
}
