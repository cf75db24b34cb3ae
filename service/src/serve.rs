//! Serving a router on a listener until a signal, then waiting for its handlers.

use std::{net::SocketAddr, pin::pin, process::ExitCode, time::Duration};

use anyhow::Context as _;
use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request},
};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// How long handlers may take to finish after the signal: Kubernetes kills after 30 s.
const HANDLERS_FINISH_WITHIN: Duration = Duration::from_secs(20);

/// A connection's first request is there by then, with all its headers.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// A connection without a request is kept this long: longer than load balancers keep theirs, 60 s on
/// AWS, or one of theirs would now and then be closed under a request.
const IDLE_AT_MOST: Duration = Duration::from_secs(75);
/// Bytes of a request's line and headers: tokens and cookies fit many times.
const HEAD_BYTES: usize = 32 * 1024;
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

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
/// get to its first request, or sends headers without end, is cut off.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let connections = GracefulShutdown::new();
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_AT_MOST)
        .max_buf_size(HEAD_BYTES);
    builder.http2().timer(TokioTimer::new()).max_header_list_size(HEAD_BYTES as u32);
    while let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await {
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // No descriptor is left, or the client hung up: neither ends the server.
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
                continue;
            }
        };
        let asked = CancellationToken::new();
        let (router, first) = (router.clone(), asked.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            first.cancel();
            request.extensions_mut().insert(ConnectInfo(peer));
            router.clone().oneshot(request.map(Body::new))
        });
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        let connection = connections.watch(connection.into_owned());
        tokio::spawn(async move {
            let mut connection = pin!(connection);
            let late = async {
                if timeout(HEAD_WITHIN, asked.cancelled()).await.is_ok() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        metrics::counter!("http_connections_broken_total").increment(1);
                        tracing::debug!(%error, "a connection broke");
                    }
                }
                () = late => {
                    metrics::counter!("http_connections_cut_total").increment(1);
                    tracing::debug!("a connection without a request is cut off");
                }
            }
        });
    }
    drop(listener);
    if timeout(HANDLERS_FINISH_WITHIN, connections.shutdown()).await.is_err() {
        tracing::warn!("some handlers did not finish in time");
    }
    Ok(())
}
