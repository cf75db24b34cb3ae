//! Starts logs, on standard error, metrics and traces.

mod config;

use std::io::IsTerminal as _;

use tokio_util::sync::CancellationToken;
use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, filter::filter_fn, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use self::config::Format;
pub use self::config::TelemetryConfig;
use crate::{
    check_config::log_unknown_variables,
    metric::{self, Part},
    trace, version,
};

/// The log filter unless `RUST_LOG` is set.
pub const USUAL: &str = "info,async_nats=warn";

/// False for events that must never be logged, whatever `RUST_LOG` is: at TRACE, async-nats logs every received
/// message, with users' texts and names.
fn is_fit_to_log(metadata: &Metadata<'_>) -> bool {
    *metadata.level() != Level::TRACE || !metadata.target().starts_with("async_nats")
}

/// Starts logging, metrics and traces, and logs misspelt variables. `usually` is the log filter unless `RUST_LOG` is
/// set. AWS Lambda functions without `METRICS_LISTEN` write metrics to standard output.
pub async fn start(
    parts: &[Part],
    config: &TelemetryConfig,
    usually: &str,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    start_logs(config, usually);
    tracing::info!(version = version::LONG, "starting");
    log_unknown_variables();
    if let Some(settings) = &config.traces {
        trace::start(settings, &service_name(parts))?;
    }
    if let Some(address) = config.metrics_listen {
        metric::serve(address, parts, shutdown).await?;
    } else if let Ok(function) = std::env::var("AWS_LAMBDA_FUNCTION_NAME") {
        metric::install(&function, parts)?;
    }
    Ok(())
}

/// The name of the process in traces, unless `OTEL_SERVICE_NAME` names it.
fn service_name(parts: &[Part]) -> String {
    std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_else(|_| {
        let name = match parts {
            [Part::Functions] => "functions",
            [Part::Gateway] => "gateway",
            [Part::Archive] => "archive",
            _ => "local",
        };
        name.to_owned()
    })
}

/// Writes what is still in memory, and returns its argument: for a layer around Lambda invocations. The response was
/// sent before, and the process may be frozen afterwards.
pub async fn flush_after<T>(result: T) -> T {
    metric::flush();
    trace::flush().await;
    result
}

/// Starts logging only, for commands that end by themselves.
pub fn start_logs(config: &TelemetryConfig, usually: &str) {
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
