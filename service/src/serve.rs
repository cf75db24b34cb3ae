//! Serving a router on a listener until a signal, then waiting for its handlers.

mod connection;

use std::{net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::Router;
use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
    sync::Semaphore,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::connection::Connections;
pub use self::connection::HangUp;
use crate::env::Env;

/// How long handlers may take to finish after the signal: Kubernetes kills after 30 s.
const HANDLERS_FINISH_WITHIN: Duration = Duration::from_secs(20);
/// A client that takes nothing of what is sent to it, or confirms nothing, for this long is cut off: what it does not
/// read is held in memory.
const NOTHING_TAKEN_FOR: Duration = Duration::from_secs(60);
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// What clients may hold open at a server.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// `LIMIT_CONNECTIONS`: connections at once. More wait in the kernel's queue until one ends.
    pub connections: usize,
    /// `LIMIT_CONNECTIONS_PER_ADDRESS`: connections of one client address (of IPv6 one /64); behind a
    /// proxy, whose connections carry everybody's requests, requests under way instead.
    pub per_address: usize,
    /// `TRUSTED_PROXY_HOPS`: how many proxies of ours are in front.
    pub trusted_hops: usize,
}

impl Default for Limits {
    fn default() -> Self {
        // An address may be that of a whole office, and each of its browsers opens up to six.
        Self { connections: 10_000, per_address: 2_000, trusted_hops: 0 }
    }
}

impl Limits {
    /// Reads the variables named above; 0 switches a limit off.
    pub fn from_env(env: &mut Env<'_>) -> Self {
        let default = Self::default();
        Self {
            connections: env
                .limit("LIMIT_CONNECTIONS", default.connections)
                .min(Semaphore::MAX_PERMITS),
            per_address: env.limit("LIMIT_CONNECTIONS_PER_ADDRESS", default.per_address),
            trusted_hops: env.or("TRUSTED_PROXY_HOPS", default.trusted_hops),
        }
    }
}

/// Runs a process: prints what stopped it in one line on standard error.
pub fn run(main: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(main),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A token that SIGINT or SIGTERM cancels.
pub fn shutdown_on_signal() -> anyhow::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let shutdown = CancellationToken::new();
    let token = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () };
        tracing::info!("stopping on a signal");
        token.cancel();
    });
    Ok(shutdown)
}

/// Listens, with an error that says where.
pub async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

/// Serves until `shutdown`, then waits for running handlers, but not for ever. A client that does not
/// get to its first request, sends headers without end or stops reading is cut off.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let open = TaskTracker::new();
    let connections = Connections::new(router, limits);
    let places = Arc::new(Semaphore::new(limits.connections));
    let next = async || {
        let place = places.clone().acquire_owned().await;
        (place, listener.accept().await)
    };
    while let Some((place, accepted)) = shutdown.run_until_cancelled(next()).await {
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // No descriptor is left, or the client hung up: neither ends the server.
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
                continue;
            }
        };
        cut_off_when_stuck(&stream);
        let Some(admitted) = connections.admit(peer) else {
            metrics::counter!("http_connections_refused_total").increment(1);
            continue;
        };
        let serving = connections.clone().serve(stream, peer, shutdown.clone());
        open.spawn(async move {
            serving.await;
            drop((admitted, place));
        });
    }
    drop(listener);
    open.close();
    if timeout(HANDLERS_FINISH_WITHIN, open.wait()).await.is_err() {
        tracing::warn!("some handlers did not finish in time");
    }
    Ok(())
}

/// Has the kernel break the connection, also one that is a WebSocket later. Not on a client that is merely silent.
fn cut_off_when_stuck(stream: &TcpStream) {
    #[cfg(target_os = "linux")]
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(NOTHING_TAKEN_FOR))
    {
        tracing::warn!(%error, "a client that stops reading will not be cut off");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_client_that_takes_nothing_is_cut_off_by_the_kernel() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        cut_off_when_stuck(&stream);
        let timeout = socket2::SockRef::from(&stream).tcp_user_timeout().unwrap();
        assert_eq!(timeout, Some(NOTHING_TAKEN_FOR));
    }
}
