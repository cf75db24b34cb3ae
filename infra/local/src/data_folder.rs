//! The data folder: locked by one process and accessible only to its owner, because it holds messages, password hashes
//! and keys.

use std::{
    fs::{self, File, Permissions, TryLockError},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use rustix::fs::Mode;

const GROUP_AND_OTHERS: u32 = 0o077;
const LOCK: &str = "lock";
/// Exists while a backup is being restored into the folder.
pub const RESTORING: &str = "restoring";

pub struct DataFolder {
    path: PathBuf,
    _lock: File,
}

impl DataFolder {
    /// Opens the folder and creates it if necessary. Sets the umask, so that this process and its children create files
    /// for the owner only, and removes permissions that an older version granted.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let folder = Self::open_unless_used(path)?;
        let folder = folder.with_context(|| {
            let path = path.display();
            format!("another `local` uses {path}; stop it, or choose another folder with --data")
        })?;
        anyhow::ensure!(
            !folder.join(RESTORING).exists(),
            "a restore into {} was interrupted; delete the folder and restore again",
            path.display()
        );
        Ok(folder)
    }

    /// Like [`Self::open`]; none if another process has locked the folder. It may hold an interrupted restore.
    pub fn open_unless_used(path: &Path) -> anyhow::Result<Option<Self>> {
        let path = std::path::absolute(path)?;
        make_new_files_private();
        make_private(&path).with_context(|| format!("cannot make {} private", path.display()))?;
        Ok(lock(&path)?.map(|lock| Self { path, _lock: lock }))
    }

    /// The path of an entry.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// Sets the umask of this process.
pub fn make_new_files_private() {
    rustix::process::umask(Mode::from_raw_mode(GROUP_AND_OTHERS));
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

/// Two processes on the same folder would corrupt it. None if another one has the lock.
fn lock(folder: &Path) -> anyhow::Result<Option<File>> {
    let path = folder.join(LOCK);
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error).context("cannot lock the data folder"),
    }
}
