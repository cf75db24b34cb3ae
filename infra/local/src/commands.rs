//! The subcommands of `local`.

use std::{io::Write as _, path::PathBuf};

use clap::{Args, Subcommand};
use local::backup::{self, Summary};

#[derive(Subcommand)]
pub enum Command {
    /// Copies all data into a new folder, while `local` is running or while it is not.
    ///
    /// Every message that was acknowledged before the start is in the backup. Secrets are not.
    Backup(Folders),
    /// Creates a data folder from a backup, after checking its files.
    Restore(Folders),
}

#[derive(Args)]
pub struct Folders {
    /// Folder of the backup.
    folder: PathBuf,
    /// Folder of the data.
    #[arg(long, default_value = ".local")]
    data: PathBuf,
}

impl Command {
    pub async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Backup(Folders { folder, data }) => {
                let Summary { files, bytes, missing } = backup::create(&data, &folder).await?;
                print(&format!("{}: {files} files, {bytes} bytes\n", folder.display()));
                if missing > 0 {
                    eprintln!(
                        "warning: {missing} files were not found, because they were deleted meanwhile or lost before; \
                         backup.json names them"
                    );
                }
            }
            Self::Restore(Folders { folder, data }) => {
                let Summary { files, bytes, .. } = backup::restore(&folder, &data)?;
                print(&format!("{}: {files} files, {bytes} bytes\n", data.display()));
            }
        }
        Ok(())
    }
}

/// Prints to standard output. A closed one is not a reason to stop.
pub fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
