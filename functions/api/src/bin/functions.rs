//! `functions [--listen 0.0.0.0:8080]`: all HTTP functions in one server, for containers.

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use api::{AppState, Config};
use clap::Parser;
use service::{
    check_config,
    env::Env,
    healthcheck,
    metric::Part,
    serve,
    telemetry::{self, TelemetryConfig},
    version,
};
use store::aws::Environment;
use tokio_util::sync::CancellationToken;

/// All HTTP functions in one server. Configured by environment variables; infra/README.md lists them.
#[derive(Parser)]
#[command(name = "functions", version = version::LONG)]
struct Arguments {
    /// Where to listen.
    #[arg(long, env = "LISTEN", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// Ask the server that listens there whether it is ready, instead of starting one: exit code 0 or 1.
    #[arg(long)]
    healthcheck: bool,
    /// Read the configuration, print all its faults, and exit with code 0 or 1. Connects to nothing.
    #[arg(long)]
    check_config: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.healthcheck {
        return healthcheck::run(arguments.listen, "/readyz");
    }
    if arguments.check_config {
        return check_config::run(configuration);
    }
    serve::run(run(arguments))
}

fn configuration(env: &mut Env<'_>) -> Option<(Config, serve::Limits, TelemetryConfig)> {
    let (limits, telemetry) = (serve::Limits::from_env(env), TelemetryConfig::from_env(env));
    Some((Config::from_env(env)?, limits, telemetry))
}

async fn run(Arguments { listen, .. }: Arguments) -> anyhow::Result<()> {
    let (config, limits, telemetry) = Environment::load().await?.read(configuration)?;
    let shutdown = serve::shutdown_on_signal()?;
    let drain = config.drain;
    let drained = CancellationToken::new();
    telemetry::start(&[Part::Functions], &telemetry, telemetry::USUAL, drained.clone()).await?;
    let listener = serve::listen(listen).await?;
    // The database must outlive the last handler.
    let state = AppState::connect(config, Default::default()).await?;
    tokio::spawn(api::watch_readiness(state.clone(), drained.clone()));
    tokio::spawn(stop_gently(state.clone(), drain, shutdown, drained.clone()));
    tracing::info!(%listen, "serving");
    serve::serve(listener, api::router(state), limits, drained).await
}

/// After the signal, is not ready for a while before the listener is closed. A load balancer that still sends requests
/// meanwhile gets answers.
async fn stop_gently(
    state: AppState,
    drain: Duration,
    shutdown: CancellationToken,
    drained: CancellationToken,
) {
    shutdown.cancelled().await;
    state.drain();
    tokio::time::sleep(drain).await;
    drained.cancel();
}
