//! Structured logs on standard error, and Prometheus metrics on a separate address.

mod config;

use std::{io::IsTerminal as _, sync::OnceLock, time::Duration};

use anyhow::Context as _;
use axum::{Router, extract::State, routing::get};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, filter::filter_fn, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use self::config::Format;
pub use self::config::TelemetryConfig;
use crate::check_config::log_unknown_variables;

/// Bounds of latency histograms in seconds: from a cached response up to waits after which most clients give
/// up.
const LATENCY_BUCKETS: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// How often the recorder merges samples into histograms. Without it, samples would accumulate while no scrape
/// happens.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();

/// The log filter unless `RUST_LOG` is set.
pub const USUAL: &str = "info,async_nats=warn";

/// False for events that must never be logged, whatever `RUST_LOG` is: at TRACE, async-nats logs every received
/// message, with users' texts and names.
fn is_fit_to_log(metadata: &Metadata<'_>) -> bool {
    *metadata.level() != Level::TRACE || !metadata.target().starts_with("async_nats")
}

/// Starts logging and metrics, and logs misspelt variables. `usually` is the log filter unless `RUST_LOG` is set.
pub async fn start(
    config: &TelemetryConfig,
    usually: &str,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    start_logs(config, usually);
    log_unknown_variables();
    if let Some(address) = config.metrics_listen {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("METRICS_LISTEN: cannot listen on {address}"))?;
        serve_metrics(listener, shutdown)?;
    }
    Ok(())
}

fn start_logs(config: &TelemetryConfig, usually: &str) {
    let filter = EnvFilter::new(config.filter.as_deref().unwrap_or(usually));
    let registry = tracing_subscriber::registry().with(filter).with(filter_fn(is_fit_to_log));
    let as_text = match config.format {
        Some(format) => format == Format::Text,
        None => std::io::stderr().is_terminal(),
    };
    // Fails if there is a subscriber already, in tests.
    let _ = if as_text {
        registry.with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr)).try_init()
    } else {
        registry
            .with(tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr))
            .try_init()
    };
}

fn serve_metrics(listener: TcpListener, shutdown: CancellationToken) -> anyhow::Result<()> {
    let handle = recorder()?;
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
    handle.render()
}

fn recorder() -> anyhow::Result<PrometheusHandle> {
    if let Some(handle) = METRICS.get() {
        return Ok(handle.clone());
    }
    let handle = PrometheusBuilder::new().set_buckets(&LATENCY_BUCKETS)?.install_recorder()?;
    Ok(METRICS.get_or_init(|| handle).clone())
}
