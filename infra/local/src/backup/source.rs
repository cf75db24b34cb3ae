//! The data folder that is backed up. A running `local` goes on; without one, this process starts the parts of it that
//! are needed to archive what NATS holds.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use anyhow::Context as _;
use service::env::Env;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    DATABASE, VARIABLES, data_folder::DataFolder, nats::Nats, settings::Settings, start_services,
    variables::Variables,
};

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The parts that archive events, and how to reach them.
pub struct Source {
    pub variables: Variables,
    own: Option<OwnParts>,
}

/// Parts that this process has started.
struct OwnParts {
    archive: JoinHandle<anyhow::Result<()>>,
    shutdown: CancellationToken,
    /// Stopped after the archive, when it is dropped.
    _nats: Nats,
    _folder: DataFolder,
}

impl Source {
    pub async fn open(data: &Path) -> anyhow::Result<Self> {
        anyhow::ensure!(data.join(DATABASE).exists(), "{} has no {DATABASE}", data.display());
        match DataFolder::open_unless_used(data)? {
            None => {
                // `local` writes the file at its start, so it describes the running one.
                let text = fs::read_to_string(data.join(VARIABLES));
                let text = text.context("cannot read the variables of the running `local`")?;
                Ok(Self { variables: Variables::from_shell(&text), own: None })
            }
            Some(folder) => Self::start(folder).await,
        }
    }

    async fn start(folder: DataFolder) -> anyhow::Result<Self> {
        // NATS and SQLite create files, which the user that `local` runs as could not change.
        anyhow::ensure!(
            fs::metadata(folder.join(DATABASE))?.uid() == rustix::process::geteuid().as_raw(),
            "`local` is not running, and the data belongs to another user: start it, or run this as that user"
        );
        let shutdown = CancellationToken::new();
        let settings = Settings::from_env(ANY_PORT)?;
        let (nats, services) =
            start_services(&folder, &settings, ANY_PORT, shutdown.clone()).await?;
        let variables = Variables::new(services, &settings);
        let get = |name: &str| variables.get(name);
        let config = Env::read(get, provision::Config::from_env)?;
        provision::run(config.recovering(provision::Recovery::AUTOMATIC)).await?;
        let config = Env::read(get, archive::Config::from_env)?;
        let archive = tokio::spawn(archive::follow(config, shutdown.clone()));
        let own = Some(OwnParts { archive, shutdown, _nats: nats, _folder: folder });
        Ok(Self { variables, own })
    }

    /// Stops the parts that this process has started.
    pub async fn close(self) -> anyhow::Result<()> {
        let Some(own) = self.own else { return Ok(()) };
        own.shutdown.cancel();
        own.archive.await?
    }
}
