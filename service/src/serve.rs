//! The HTTP server of every process: it serves a router until a signal, then waits for the handlers.

mod connection;
mod limits;

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
pub use self::{connection::HangUp, limits::Limits};
use crate::trace;

/// Time for handlers to finish after the signal. Kubernetes kills after 30 s.
const HANDLERS_FINISH_WITHIN: Duration = Duration::from_secs(20);
/// A connection whose client acknowledges no data for this long is closed, because unread data takes memory.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);
/// Pause after a failed accept.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Runs a process. Prints an error in one line on standard error.
pub fn run(main: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(main),
        Err(error) => Err(error.into()),
    };
    trace::stop();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A token that is cancelled by SIGINT or SIGTERM.
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

/// Listens. The error has the address.
pub async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

/// Serves until `shutdown`, then waits for running handlers for a limited time. Closes the connection of a client
/// that does not complete its first request's headers or stops reading.
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
                // The process has no free file descriptors, or the client has closed the connection.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
                continue;
            }
        };
        limit_send_time(&stream);
        let Some(admitted) = connections.admit(peer) else {
            metrics::counter!("chat_http_connections_refused_total").increment(1);
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

/// Sets `TCP_USER_TIMEOUT`: the kernel closes the connection if sent data is not acknowledged in time, also
/// after an upgrade to a WebSocket. Idle connections stay open.
fn limit_send_time(stream: &TcpStream) {
    #[cfg(target_os = "linux")]
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(SEND_TIMEOUT)) {
        tracing::warn!(%error, "the send timeout of a connection could not be set");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_kernel_limits_the_send_time() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        limit_send_time(&stream);
        let timeout = socket2::SockRef::from(&stream).tcp_user_timeout().unwrap();
        assert_eq!(timeout, Some(SEND_TIMEOUT));
    }
}
