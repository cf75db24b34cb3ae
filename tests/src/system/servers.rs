//! Starts and stops functions, gateways and the archive, in this process or as processes of their own.

use std::process::Stdio;

use service::serve;
use tokio::{net::TcpListener, process::Child};
use tokio_util::sync::CancellationToken;

use super::{ANY_PORT, System};
use crate::{process::Server, wait::eventually};

/// A gateway that runs in this process.
pub struct Gateway {
    /// `http://host:port`
    pub base: String,
    handle: gateway::Gateway,
    shutdown: CancellationToken,
}

impl Gateway {
    /// Begins the shutdown, as SIGTERM does.
    pub fn drain(&self) {
        self.shutdown.cancel();
    }

    /// The gateway itself.
    pub fn handle(&self) -> &gateway::Gateway {
        &self.handle
    }

    /// Waits until no socket is left.
    pub async fn drained(&self) {
        self.handle.drained().await.unwrap();
    }
}

impl System {
    pub(super) async fn serve_functions(&self, listener: TcpListener, stop: CancellationToken) {
        let config = self.config(api::Config::from_env);
        let state = api::AppState::connect(config, stop.clone()).await.unwrap();
        let limits = self.config(|env| Some(serve::Limits::from_env(env)));
        tokio::spawn(serve::serve(listener, api::router(state), limits, stop));
    }

    /// Stops the functions at `base`. Nothing answers the gateways' questions afterwards.
    pub fn stop_functions(&self) {
        self.stop_functions.cancel();
    }

    /// Starts another instance of the functions with the current variables; returns its address.
    pub async fn start_functions(&self) -> String {
        let listener = TcpListener::bind(ANY_PORT).await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        self.serve_functions(listener, self.stop.clone()).await;
        base
    }

    /// Starts a gateway in this process with the current variables.
    pub async fn start_gateway(&self) -> Gateway {
        let shutdown = CancellationToken::new();
        let config = self.config(gateway::Config::from_env);
        let handle = gateway::Gateway::start(config, shutdown.clone()).await.unwrap();
        let listener = TcpListener::bind(ANY_PORT).await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let limits = self.config(|env| Some(serve::Limits::from_env(env)));
        tokio::spawn(serve::serve(listener, handle.router(), limits, self.stop.clone()));
        self.wait_until_ready(&base).await;
        Gateway { base, handle, shutdown }
    }

    /// Waits until the server at `base` answers that it is ready.
    pub async fn wait_until_ready(&self, base: &str) {
        eventually("a server to be ready", || async { self.is_ready(base).await.then_some(()) })
            .await;
    }

    /// Whether `/readyz` of the server at `base` answers with success.
    pub async fn is_ready(&self, base: &str) -> bool {
        let answer = self.http.get(format!("{base}/readyz")).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// Starts a binary as a process. It appends its output to `<name>.log` in this system's folder.
    pub fn start_process(&self, name: &str, arguments: &[&str]) -> Child {
        let mut command = self.command(name);
        command.args(arguments).kill_on_drop(true).spawn().unwrap()
    }

    /// Starts a gateway or functions as a process on a free address and waits until it is ready.
    /// `configure` is called once for every attempt to start it.
    pub async fn start_server(
        &self,
        name: &str,
        mut configure: impl FnMut(&mut tokio::process::Command),
    ) -> Server {
        let command = |address: &str| {
            let mut command = self.command(name);
            command.args(["--listen", address]);
            configure(&mut command);
            command
        };
        Server::start(command, |base| async move { self.is_ready(&base).await }).await
    }

    /// A command for a binary with this system's variables. See [`Self::start_process`].
    pub fn command(&self, name: &str) -> tokio::process::Command {
        let log = self.folder().join(format!("{name}.log"));
        let log = std::fs::OpenOptions::new().append(true).create(true).open(log).unwrap();
        let mut command = tokio::process::Command::new(crate::process::binary(name));
        command.envs(&self.variables).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        command
    }

    /// Starts `archive --follow` in this process.
    pub fn start_archive(&mut self) {
        let stop = CancellationToken::new();
        let config = self.config(archive::Config::from_env);
        let archive = tokio::spawn(archive::follow(config, stop.clone()));
        self.archive = Some((stop, archive));
    }

    /// Stops the archive, if one was started, and waits until it has ended.
    pub async fn stop_archive(&mut self) {
        if let Some((stop, archive)) = self.archive.take() {
            stop.cancel();
            archive.await.unwrap().unwrap();
        }
    }

    /// Runs the archive once: it moves all events of the streams and sweeps. Returns how many it moved.
    pub async fn archive_once(&self) -> usize {
        self.try_archive_once().await.unwrap()
    }

    /// Like [`Self::archive_once`], where it may fail.
    pub async fn try_archive_once(&self) -> anyhow::Result<usize> {
        let config = self.config(archive::Config::from_env);
        archive::once(config).await
    }

    /// Archives everything again from the stream's beginning; returns the number of stored messages.
    pub async fn archive_from_start(&mut self) -> i64 {
        self.stop_archive().await;
        let admin = async_nats::jetstream::new(self.nats_as("provision").await);
        admin.delete_consumer_from_stream("archive", "CHAT_0").await.unwrap();
        self.provision().await;
        while self.archive_once().await > 0 {}
        self.count_messages().await
    }
}
