//! A world: one database, one NATS server, one storage, the functions, an archive, and gateways.

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
use service::{env::Env, serve};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{eventually, postgres};

mod behind;

const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Like the passwords in a world, long enough to be found where it must not be.
const STORAGE_SECRET: &str = "the-secret-of-the-storage";

/// Which database a world stands on.
#[derive(Debug, Clone, Copy)]
pub enum Database {
    Sqlite,
    Postgres,
}

/// See the module.
pub struct World {
    /// The functions' address.
    pub base: String,
    pub http: reqwest::Client,
    pub nats: Nats,
    pub minter: Minter,
    variables: BTreeMap<String, String>,
    archive: Option<(CancellationToken, JoinHandle<anyhow::Result<()>>)>,
    /// Ends the functions at `base`.
    functions_ended: CancellationToken,
    ended: CancellationToken,
    _folder: TempDir,
}

/// A running gateway.
pub struct Gateway {
    /// Its address.
    pub base: String,
    handle: gateway::Gateway,
    shutdown: CancellationToken,
}

impl Gateway {
    /// What SIGTERM does.
    pub fn drain(&self) {
        self.shutdown.cancel();
    }

    /// The gateway itself.
    pub fn handle(&self) -> &gateway::Gateway {
        &self.handle
    }

    /// Until no socket is left.
    pub async fn drained(&self) {
        self.handle.drained().await.unwrap();
    }
}

impl World {
    /// Everything, but without a gateway and without the archive following.
    pub async fn new(database: Database) -> Self {
        // All that starts here makes a big future; a story should not carry it.
        Box::pin(Self::start(database)).await
    }

    async fn start(database: Database) -> Self {
        let folder = TempDir::new().unwrap();
        let nats = Nats::start(&folder.path().join("nats"), None, password).unwrap();
        let listener = TcpListener::bind(ANYWHERE).await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let ended = CancellationToken::new();
        let files = folder.path().join("s3");
        let storage = local::s3::serve(
            &files,
            ANYWHERE,
            ("key", STORAGE_SECRET),
            std::slice::from_ref(&base),
            ended.clone(),
        );
        let s3_address = storage.await.unwrap();
        let database_url = match database {
            Database::Sqlite => format!("sqlite://{}", folder.path().join("chat.db").display()),
            Database::Postgres => postgres::new_database().await,
        };
        let key = local::secrets::generate_key().unwrap();
        let minter = Minter::from_pem(&key.clone().into()).unwrap();
        let services = Services {
            database_url,
            nats_url: nats.url(),
            nats_passwords: nats::ROLES.map(|role| (role, password(role))).into(),
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
        let world = Self {
            base,
            http: reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .unwrap(),
            nats,
            minter,
            variables,
            archive: None,
            functions_ended: ended.child_token(),
            ended,
            _folder: folder,
        };
        world.provision().await;
        let config = world.read(api::Config::from_env);
        let ended = world.functions_ended.clone();
        let state = api::AppState::connect(config, ended.clone()).await.unwrap();
        let limits = world.read(|env| Some(serve::Limits::from_env(env)));
        tokio::spawn(serve::serve(listener, api::router(state), limits, ended));
        world
    }

    /// Ends the functions at `base`; nobody answers gateways then.
    pub fn stop_functions(&self) {
        self.functions_ended.cancel();
    }

    /// A configuration read from this world's variables.
    pub fn read<T>(&self, read: impl FnOnce(&mut Env<'_>) -> Option<T>) -> T {
        Env::read(|name| self.variables.get(name).cloned(), read).unwrap()
    }

    /// The variables, for processes.
    pub fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    /// Sets a variable for what is started next.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
    }

    /// The release step.
    pub async fn provision(&self) {
        self.recover(Recovery::default()).await.unwrap();
    }

    /// The same after a restore.
    pub async fn recover(&self, recovery: Recovery) -> anyhow::Result<()> {
        let config = self.read(provision::Config::from_env).recovering(recovery);
        provision::run(config).await
    }

    /// Starts the functions once more, as another instance with what is set by now; its address.
    pub async fn functions(&self) -> String {
        let listener = TcpListener::bind(ANYWHERE).await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let config = self.read(api::Config::from_env);
        let state = api::AppState::connect(config, self.ended.clone()).await.unwrap();
        let limits = self.read(|env| Some(serve::Limits::from_env(env)));
        tokio::spawn(serve::serve(listener, api::router(state), limits, self.ended.clone()));
        base
    }

    /// Starts another gateway.
    pub async fn gateway(&self) -> Gateway {
        let shutdown = CancellationToken::new();
        let config = self.read(gateway::Config::from_env);
        let handle = gateway::Gateway::start(config, shutdown.clone()).await.unwrap();
        let listener = TcpListener::bind(ANYWHERE).await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let address = listener.local_addr().unwrap().to_string();
        let limits = self.read(|env| Some(serve::Limits::from_env(env)));
        tokio::spawn(serve::serve(listener, handle.router(), limits, self.ended.clone()));
        self.ready(&address).await;
        Gateway { base, handle, shutdown }
    }

    /// Starts a binary as a process of its own. Its log is `<name>.log` in the world's folder.
    pub fn process(&self, name: &str, arguments: &[&str]) -> tokio::process::Child {
        let log = self._folder.path().join(format!("{name}.log"));
        let log = std::fs::OpenOptions::new().append(true).create(true).open(log).unwrap();
        let mut command = tokio::process::Command::new(crate::binary(name));
        command.args(arguments).envs(&self.variables).stdin(std::process::Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log).kill_on_drop(true).spawn().unwrap()
    }

    /// Waits until a process that listens there can do its work.
    pub async fn ready(&self, address: &str) {
        eventually("a process to be ready", || async {
            let ready = self.http.get(format!("http://{address}/readyz")).send().await;
            ready.is_ok_and(|answer| answer.status().is_success()).then_some(())
        })
        .await;
    }

    /// Starts another gateway as a process of its own, at `address`; `set` changes how.
    pub async fn gateway_process(
        &self,
        address: &str,
        set: impl FnOnce(&mut tokio::process::Command),
    ) -> tokio::process::Child {
        let mut command = tokio::process::Command::new(crate::binary("gateway"));
        command.args(["--listen", address]).envs(&self.variables);
        command.stdin(std::process::Stdio::null()).kill_on_drop(true);
        set(&mut command);
        let child = command.spawn().unwrap();
        self.ready(address).await;
        child
    }

    /// Starts `archive --follow`.
    pub fn start_archive(&mut self) {
        let stop = CancellationToken::new();
        let config = self.read(archive::Config::from_env);
        let following = tokio::spawn(archive::follow(config, stop.clone()));
        self.archive = Some((stop, following));
    }

    /// Moves all that is in the streams, sweeps, and returns how many events were moved.
    pub async fn archive_once(&self) -> usize {
        self.try_archive_once().await.unwrap()
    }

    /// The same where it may fail.
    pub async fn try_archive_once(&self) -> anyhow::Result<usize> {
        let config = self.read(archive::Config::from_env);
        archive::once(config).await
    }

    /// Has everything archived anew, from the stream's beginning; returns how many messages there
    /// are then.
    pub async fn archive_again(&mut self) -> i64 {
        if let Some((stop, following)) = self.archive.take() {
            stop.cancel();
            following.await.unwrap().unwrap();
        }
        let admin = async_nats::jetstream::new(self.nats_as("provision").await);
        admin.delete_consumer_from_stream("archive", "CHAT_0").await.unwrap();
        self.provision().await;
        while self.archive_once().await > 0 {}
        self.count_messages().await
    }

    /// Kills the NATS server and starts it again over the same data, at the same address.
    pub fn restart_nats(&mut self) {
        let port = self.nats.port();
        let folder = self._folder.path().join("nats");
        self.nats.kill();
        self.nats = Nats::start(&folder, Some(port), password).unwrap();
    }

    /// Copies NATS's data aside, as a backup of its disk.
    pub fn back_up_nats(&mut self) {
        self.nats.kill();
        let copied =
            copy(&self._folder.path().join("nats/data"), &self._folder.path().join("backup"));
        copied.unwrap();
        self.restart_nats();
    }

    /// NATS's disk is gone; with `restored`, the backup takes its place.
    pub fn lose_nats(&mut self, restored: bool) {
        self.nats.kill();
        let data = self._folder.path().join("nats/data");
        std::fs::remove_dir_all(&data).unwrap();
        if restored {
            copy(&self._folder.path().join("backup"), &data).unwrap();
        }
        self.restart_nats();
    }

    /// The storage's disk is gone.
    pub fn lose_files(&self) {
        let files = self._folder.path().join("s3");
        for entry in std::fs::read_dir(&files).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }
                .unwrap();
        }
    }

    /// A folder of this world.
    pub fn folder(&self) -> &Path {
        self._folder.path()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some((stop, following)) = self.archive.take() {
            stop.cancel();
            following.abort();
        }
        self.ended.cancel();
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

/// Any will do: the world is this test's alone.
fn password(role: &str) -> String {
    format!("the-password-of-{role}")
}
