//! The data folder is for its owner alone: messages, password hashes and keys are in it.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use anyhow::Context as _;
use rustix::fs::Mode;

const GROUP_AND_OTHERS: u32 = 0o077;

/// Makes the folder, and makes whatever this process and its children create from now on readable for
/// their owner only. What an older version left readable is corrected.
pub fn open(folder: &Path) -> anyhow::Result<()> {
    rustix::process::umask(Mode::from_raw_mode(GROUP_AND_OTHERS));
    let opened = || -> std::io::Result<()> {
        fs::create_dir_all(folder)?;
        let was_open = fs::metadata(folder)?.permissions().mode() & GROUP_AND_OTHERS != 0;
        if was_open { close(folder) } else { Ok(()) }
    };
    opened().with_context(|| format!("cannot make {} private", folder.display()))
}

/// Takes the rights of group and others from the folder and from all that is in it. The folder comes last: if
/// this is interrupted, the next start does it again.
fn close(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            close(&entry.path())?;
        } else if kind.is_file() {
            take_rights(&entry.path())?;
        }
    }
    take_rights(folder)
}

fn take_rights(path: &Path) -> std::io::Result<()> {
    let mode = fs::metadata(path)?.permissions().mode();
    fs::set_permissions(path, Permissions::from_mode(mode & !GROUP_AND_OTHERS))
}
