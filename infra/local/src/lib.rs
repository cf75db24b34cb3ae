//! Everything in one process for one machine: NATS as a child, an S3 server over a folder, SQLite,
//! and the same functions, gateway and archive that run apart elsewhere.

pub mod nats;
mod private;
pub mod s3;
pub mod secrets;
mod variables;

use std::{
    fs::{File, TryLockError},
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use service::{env::Env, serve};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::{
    nats::Nats,
    secrets::Secrets,
    variables::{Addresses, Given, Variables},
};

/// How often the child is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Where to be.
#[derive(Debug, Clone)]
pub struct Options {
    pub listen: SocketAddr,
    pub data: PathBuf,
}

/// Runs until `shutdown`. `ready` is called once everything answers.
pub async fn run(
    options: Options,
    shutdown: CancellationToken,
    ready: impl FnOnce(SocketAddr),
) -> anyhow::Result<()> {
    let data = std::path::absolute(&options.data)?;
    private::open(&data)?;
    let secrets = Secrets::open(&data.join("secrets"))?;
    let _lock = lock(&data)?;
    let listener = listen(options.listen).await?;
    let public = listener.local_addr()?;
    let passwords = |role: &str| secrets.password(&format!("nats-{role}"));
    for role in nats::ROLES {
        passwords(role)?;
    }
    let mut nats =
        Nats::start(&data.join("nats"), None, |role| passwords(role).unwrap_or_default())?;
    // What the parts stand on ends after them.
    let ended = CancellationToken::new();
    let given = Given::from_env(public)?;
    let (key, secret) = (secrets.password("s3-key")?, secrets.password("s3-secret")?);
    let storage = s3::serve(
        &data.join("s3"),
        SocketAddr::new(public.ip(), 0),
        (&key, &secret),
        &given.origins,
        ended.clone(),
    )
    .await?;
    let database = format!("sqlite://{}", data.join("chat.db").display());
    let addresses = Addresses { nats: &nats.url(), storage, database: &database };
    let variables = Variables::new(&secrets, &addresses, &given)?;
    secrets::write_private(&data.join("env"), &variables.to_shell())?;

    let get = |name: &str| variables.get(name);
    let config = Env::read(get, provision::Config::from_env)?;
    // Nobody could run it by hand: NATS is a child of this process.
    provision::run(config.recovering(provision::Recovery::AUTOMATIC)).await?;
    let archive = Env::read(get, archive::Config::from_env)?;
    let archive = tokio::spawn(archive::follow(archive, ended.clone()));
    let gateway = Env::read(get, gateway::Config::from_env)?;
    let mut state = Env::read(get, api::Config::from_env)?;
    // One process: what is sent by HTTP and by sockets comes out of the same budgets.
    state.shared_budgets = Some(gateway.publish.clone());
    let state = api::State::connect(state, ended.clone()).await?;
    let limits = Env::read(get, |env| Some(serve::Limits::from_env(env)))?;
    let gateway = gateway::Gateway::start(gateway, shutdown.clone()).await?;
    let router = api::router(state).merge(gateway.socket_router());
    let served = tokio::spawn(serve::serve(listener, router, limits, ended.clone()));
    ready(public);

    let result = tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        () = child_ended(&mut nats) => Err(anyhow::anyhow!(
            "nats-server ended; its log is {}/nats/nats.log", data.display()
        )),
        failure = gateway.failed() => Err(failure),
    };
    shutdown.cancel();
    let drained = gateway.drained().await;
    ended.cancel();
    served.await??;
    archive.await??;
    result.and(drained)
}

async fn child_ended(nats: &mut Nats) {
    while !nats.has_ended() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    serve::listen(address)
        .await
        .with_context(|| "choose another address with --listen, such as 127.0.0.1:8090")
}

/// Two of us over one folder would spoil it.
fn lock(data: &Path) -> anyhow::Result<File> {
    let path = data.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!(
            "another `local` uses {}; stop it, or choose another folder with --data",
            data.display()
        ),
        Err(TryLockError::Error(error)) => Err(error).context("cannot lock the data folder"),
    }
}
