//! Serves the metrics to Prometheus.

use std::{net::SocketAddr, sync::OnceLock, time::Duration};

use anyhow::Context as _;
use axum::{Router, extract::State, routing::get};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{definition::Part, process, register::register};

/// Bounds of histograms in seconds: from a cached response up to waits after which most clients give up.
const BUCKETS: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// How often the recorder merges samples into histograms. Without it, samples would accumulate while no scrape
/// happens.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

/// Installs the recorder and serves `GET /metrics` until `shutdown`.
pub async fn serve(
    address: SocketAddr,
    parts: &[Part],
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("METRICS_LISTEN: cannot listen on {address}"))?;
    let handle = recorder()?;
    register(parts);
    let upkeep = handle.clone();
    let stop = shutdown.clone();
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(UPKEEP_EVERY);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            upkeep.run_upkeep();
        }
    });
    let router = Router::new().route("/metrics", get(render)).with_state(handle);
    tokio::spawn(async move {
        let served = axum::serve(listener, router)
            .with_graceful_shutdown(async move { shutdown.cancelled().await });
        if let Err(error) = served.await {
            tracing::error!(%error, "the metrics server failed");
        }
    });
    Ok(())
}

async fn render(State(handle): State<PrometheusHandle>) -> String {
    process::update();
    handle.render()
}

fn recorder() -> anyhow::Result<PrometheusHandle> {
    if let Some(handle) = RECORDER.get() {
        return Ok(handle.clone());
    }
    let handle = PrometheusBuilder::new().set_buckets(&BUCKETS)?.install_recorder()?;
    Ok(RECORDER.get_or_init(|| handle).clone())
}
