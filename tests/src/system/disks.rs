//! Restarts of NATS, and disks that are lost or restored from a backup.

use std::path::Path;

use local::nats::Nats;

use super::{System, nats_password};

impl System {
    /// Kills the NATS server and starts it again with the same data at the same address.
    pub fn restart_nats(&mut self) {
        let port = self.nats.port();
        self.nats.kill();
        self.nats = Nats::start(&self.folder().join("nats"), Some(port), nats_password).unwrap();
    }

    /// Copies the data of NATS, as a backup of its disk does.
    pub fn back_up_nats(&mut self) {
        self.nats.kill();
        copy(&self.folder().join("nats/data"), &self.folder().join("backup")).unwrap();
        self.restart_nats();
    }

    /// Empties the disk of NATS. With `restored`, the backup replaces its content.
    pub fn lose_nats(&mut self, restored: bool) {
        self.nats.kill();
        let data = self.folder().join("nats/data");
        std::fs::remove_dir_all(&data).unwrap();
        if restored {
            copy(&self.folder().join("backup"), &data).unwrap();
        }
        self.restart_nats();
    }

    /// Empties the disk of the object storage.
    pub fn lose_files(&self) {
        for entry in std::fs::read_dir(self.folder().join("s3")).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }
                .unwrap();
        }
    }
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            std::fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
