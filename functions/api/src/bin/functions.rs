//! `functions [--listen 0.0.0.0:8080]`: all HTTP functions in one server, for containers.

use std::{net::SocketAddr, process::ExitCode};

use api::{AppState, Config};
use clap::Parser;
use service::{env::Env, healthcheck, serve, telemetry};

/// All HTTP functions in one server. Configured by environment variables; infra/README.md lists them.
#[derive(Parser)]
struct Arguments {
    /// Where to listen.
    #[arg(long, env = "LISTEN", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// Ask the server that listens there whether it is ready, instead of starting one: exit code 0 or 1.
    #[arg(long)]
    healthcheck: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.healthcheck {
        return healthcheck::run(arguments.listen, "/readyz");
    }
    serve::run(run(arguments))
}

async fn run(Arguments { listen, .. }: Arguments) -> anyhow::Result<()> {
    let (config, limits) = Env::of_process(|env| {
        let (config, limits) = (Config::from_env(env), serve::Limits::from_env(env));
        Some((config?, limits))
    })?;
    let shutdown = serve::shutdown_on_signal()?;
    telemetry::start(telemetry::USUAL, shutdown.clone()).await?;
    let listener = serve::listen(listen).await?;
    // The database must outlive the last handler.
    let state = AppState::connect(config, Default::default()).await?;
    tracing::info!(%listen, "serving");
    serve::serve(listener, api::router(state), limits, shutdown).await
}
