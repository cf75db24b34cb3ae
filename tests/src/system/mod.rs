//! The system under test: one database, one NATS server, one object storage, the HTTP functions, and
//! the gateways and archive that a test starts.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use local::{
    nats::{self, Nats},
    services::{S3Key, Services},
};
use protocol::token::Minter;
use provision::Recovery;
use service::env::Env;
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::postgres;

mod database;
mod disks;
mod events;
mod servers;

pub use servers::Gateway;

/// Any free port of this machine.
const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Long, like the NATS passwords, so that a search of the logs finds it only where it was leaked.
const STORAGE_SECRET: &str = "the-secret-of-the-storage";

/// The database that a system uses.
#[derive(Debug, Clone, Copy)]
pub enum Database {
    Sqlite,
    Postgres,
}

/// See the module's documentation.
pub struct System {
    /// The functions' address, `http://host:port`.
    pub base: String,
    pub http: reqwest::Client,
    pub nats: Nats,
    pub minter: Minter,
    variables: BTreeMap<String, String>,
    archive: Option<(CancellationToken, JoinHandle<anyhow::Result<()>>)>,
    /// Stops the functions at `base`.
    stop_functions: CancellationToken,
    /// Stops everything.
    stop: CancellationToken,
    folder: TempDir,
}

impl System {
    /// Starts everything except gateways and the archive.
    pub async fn new(database: Database) -> Self {
        // Boxed because the future is large and would be part of every test's future.
        Box::pin(Self::start(database)).await
    }

    /// Starts the services only: the schema and the streams are not provisioned, and no functions run.
    pub async fn without_servers(database: Database) -> Self {
        Box::pin(Self::start_services(database)).await.0
    }

    async fn start(database: Database) -> Self {
        let (system, listener) = Self::start_services(database).await;
        system.provision().await;
        system.serve_functions(listener, system.stop_functions.clone()).await;
        system
    }

    /// Returns also the listener for the functions at `base`.
    async fn start_services(database: Database) -> (Self, TcpListener) {
        let folder = TempDir::new().unwrap();
        let nats = Nats::start(&folder.path().join("nats"), None, nats_password).unwrap();
        let listener = TcpListener::bind(ANY_PORT).await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let files = folder.path().join("s3");
        let storage = local::s3::serve(
            &files,
            ANY_PORT,
            ("key", STORAGE_SECRET),
            std::slice::from_ref(&base),
            stop.clone(),
        );
        let s3_address = storage.await.unwrap();
        let database_url = match database {
            Database::Sqlite => format!("sqlite://{}", folder.path().join("chat.db").display()),
            Database::Postgres => postgres::new_database().await,
        };
        let key = local::secrets::generate_key().unwrap();
        let minter = Minter::from_pem(&key.clone().into()).unwrap();
        let http =
            reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let services = Services {
            database_url,
            nats_url: nats.url(),
            nats_passwords: nats::ROLES.map(|role| (role, nats_password(role))).into(),
            s3_address,
            s3_key: S3Key { id: "key".to_owned(), secret: STORAGE_SECRET.to_owned() },
            signing_key: key,
            functions_url: base.clone(),
        };
        let mut variables = services.into_variables();
        for (name, value) in [
            ("PUBLIC_URL", base.as_str()),
            ("ALLOWED_ORIGINS", &base),
            ("DRAIN_SECONDS", "2"),
            ("GATEWAY_THREADS", "2"),
        ] {
            variables.insert(name.to_owned(), value.to_owned());
        }
        let system = Self {
            base,
            http,
            nats,
            minter,
            variables,
            archive: None,
            stop_functions: stop.child_token(),
            stop,
            folder,
        };
        (system, listener)
    }

    /// Reads a configuration from this system's variables.
    pub fn config<T>(&self, read: impl FnOnce(&mut Env<'_>) -> Option<T>) -> T {
        Env::read(|name| self.variables.get(name).cloned(), read).unwrap()
    }

    /// The environment variables for processes.
    pub fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    /// Sets a variable for everything that is started after this.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
    }

    /// Runs the release step.
    pub async fn provision(&self) {
        self.try_provision(Recovery::default()).await.unwrap();
    }

    /// Runs the release step with the options for a restored disk.
    pub async fn try_provision(&self, recovery: Recovery) -> anyhow::Result<()> {
        let config = self.config(provision::Config::from_env).recovering(recovery);
        provision::run(config).await
    }

    /// This system's temporary folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for System {
    fn drop(&mut self) {
        if let Some((stop, archive)) = self.archive.take() {
            stop.cancel();
            archive.abort();
        }
        self.stop.cancel();
    }
}

/// The password of a NATS role. It need not be secret: the server belongs to one test.
fn nats_password(role: &str) -> String {
    format!("the-password-of-{role}")
}
