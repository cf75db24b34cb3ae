//! The data folder: locked by one process and accessible only to its owner, because it holds messages, password hashes
//! and keys.

use std::{
    fs::{self, File, Permissions, TryLockError},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use rustix::fs::Mode;

const GROUP_AND_OTHERS: u32 = 0o077;

pub struct DataFolder {
    path: PathBuf,
    _lock: File,
}

impl DataFolder {
    /// Opens the folder and creates it if necessary. Sets the umask, so that this process and its children create files
    /// for the owner only, and removes permissions that an older version granted.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let path = std::path::absolute(path)?;
        rustix::process::umask(Mode::from_raw_mode(GROUP_AND_OTHERS));
        make_private(&path).with_context(|| format!("cannot make {} private", path.display()))?;
        let lock = lock(&path)?;
        Ok(Self { path, _lock: lock })
    }

    /// The path of an entry.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

fn make_private(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let is_private = fs::metadata(folder)?.permissions().mode() & GROUP_AND_OTHERS == 0;
    if is_private { Ok(()) } else { restrict_recursively(folder) }
}

/// Restricts the folder after its contents: if this is interrupted, the folder is still open and the next start repeats
/// it.
fn restrict_recursively(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            restrict_recursively(&entry.path())?;
        } else if kind.is_file() {
            restrict(&entry.path())?;
        }
    }
    restrict(folder)
}

fn restrict(path: &Path) -> io::Result<()> {
    let mode = fs::metadata(path)?.permissions().mode();
    fs::set_permissions(path, Permissions::from_mode(mode & !GROUP_AND_OTHERS))
}

/// Two processes on the same folder would corrupt it.
fn lock(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!(
            "another `local` uses {}; stop it, or choose another folder with --data",
            folder.display()
        ),
        Err(TryLockError::Error(error)) => Err(error).context("cannot lock the data folder"),
    }
}
