//! The whole system in one process, for a single machine: NATS as a child process, an S3 server over a folder, SQLite,
//! and the same functions, gateway and archive that run as separate processes elsewhere.

pub mod backup;
mod configuration;
mod data_folder;
pub mod nats;
pub mod s3;
pub mod secrets;
pub mod services;
mod settings;
mod variables;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use anyhow::Context as _;
use service::{env::Env, serve};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use self::configuration::check as check_config;
use self::{
    configuration::Configuration,
    data_folder::DataFolder,
    nats::Nats,
    secrets::Secrets,
    services::{S3Key, Services},
    settings::Settings,
    variables::Variables,
};

/// The SQLite database in the data folder.
const DATABASE: &str = "chat.db";
/// The variables of further processes in the data folder.
const VARIABLES: &str = "env";

#[derive(Debug, Clone)]
pub struct Options {
    /// Address of the web page, the HTTP functions and the gateway.
    pub listen: SocketAddr,
    /// Address of the S3 server; by default a free port of the same IP address.
    pub s3_listen: Option<SocketAddr>,
    /// Folder of all data and secrets.
    pub data: PathBuf,
}

/// Runs until `shutdown`. `ready` is called once every part accepts requests.
pub async fn run(
    options: Options,
    shutdown: CancellationToken,
    ready: impl FnOnce(SocketAddr),
) -> anyhow::Result<()> {
    let data = DataFolder::open(&options.data)?;
    let listener = listen(options.listen).await?;
    let address = listener.local_addr()?;
    let settings = Settings::from_env(address)?;
    // Cancelled after the gateway has drained, because its clients use the other parts until then.
    let drained = CancellationToken::new();
    let s3_listen = options.s3_listen.unwrap_or(SocketAddr::new(address.ip(), 0));
    let (mut nats, services) = start_services(&data, &settings, s3_listen, drained.clone()).await?;
    let variables = Variables::new(services, &settings);
    secrets::write_private(&data.join(VARIABLES), &variables.to_shell())?;

    let read = Env::read(|name| variables.get(name), Configuration::from_env)?;
    let Configuration { provision, archive, gateway, mut functions, limits } = read;
    // `provision` cannot be run by hand here, because NATS is a child of this process.
    provision::run(provision.recovering(provision::Recovery::AUTOMATIC)).await?;
    let archive = tokio::spawn(archive::follow(archive, drained.clone()));
    // Messages sent over HTTP and over sockets share the same rate limits.
    functions.shared_budgets = Some(gateway.publish.clone());
    let state = api::AppState::connect(functions, drained.clone()).await?;
    tokio::spawn(api::watch_readiness(state.clone(), drained.clone()));
    let gateway = gateway::Gateway::start(gateway, shutdown.clone()).await?;
    let router = api::router(state).merge(gateway.socket_router());
    let server = tokio::spawn(serve::serve(listener, router, limits, drained.clone()));
    ready(address);

    let result = tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        never = nats::keep_running(&mut nats) => match never {},
        failure = gateway.failed() => Err(failure),
    };
    shutdown.cancel();
    let drain_result = gateway.drained().await;
    drained.cancel();
    server.await??;
    archive.await??;
    result.and(drain_result)
}

/// Starts NATS and the S3 server. The latter listens on `s3_listen`, where browsers or a reverse proxy reach it.
async fn start_services(
    data: &DataFolder,
    settings: &Settings,
    s3_listen: SocketAddr,
    shutdown: CancellationToken,
) -> anyhow::Result<(Nats, Services)> {
    let secrets = Secrets::open(&data.join("secrets"))?;
    let mut nats_passwords = BTreeMap::new();
    for role in nats::ROLES {
        nats_passwords.insert(role, secrets.password(&format!("nats-{role}"))?);
    }
    let nats = Nats::start(&data.join("nats"), None, |role| nats_passwords[role].clone())?;
    // No process connects with this role, so its password is not part of the variables.
    nats_passwords.remove("sys");
    let s3_key = S3Key { id: secrets.password("s3-key")?, secret: secrets.password("s3-secret")? };
    let s3_address = s3::serve(
        &data.join(s3::FOLDER),
        s3_listen,
        (&s3_key.id, &s3_key.secret),
        &settings.allowed_origins,
        shutdown,
    )
    .await?;
    let services = Services {
        database_url: format!("sqlite://{}", data.join(DATABASE).display()),
        nats_url: nats.url(),
        nats_passwords,
        s3_address,
        s3_key,
        signing_key: secrets.signing_key()?,
        functions_url: settings::without_slash(&settings.functions_url),
    };
    Ok((nats, services))
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    serve::listen(address)
        .await
        .context("choose another address with --listen, such as 127.0.0.1:8090")
}
