//! `gateway [--listen 0.0.0.0:8081]`: the WebSocket gateway as a process.

use std::{net::SocketAddr, process::ExitCode};

use clap::Parser;
use gateway::{Config, Gateway};
use service::{
    check_config,
    env::Env,
    healthcheck,
    metric::Part,
    serve,
    telemetry::{self, TelemetryConfig},
    version,
};
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The WebSocket gateway. Configured by environment variables; infra/README.md lists them.
#[derive(Parser)]
#[command(version = version::LONG)]
struct Arguments {
    /// The address to listen on.
    #[arg(long, env = "LISTEN", default_value = "0.0.0.0:8081")]
    listen: SocketAddr,
    /// Ask the server that listens there whether it is ready, instead of starting one: exit code 0 or 1.
    #[arg(long)]
    healthcheck: bool,
    /// Read the configuration, print all its faults, and exit with code 0 or 1. Connects to nothing.
    #[arg(long)]
    check_config: bool,
}

/// Disables huge pages, which mimalloc requests from the kernel. Rooms and sockets are many small allocations:
/// on huge pages, a thousand rooms took three times their own memory.
fn use_small_pages() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        eprintln!("cannot disable huge pages: {error}");
    }
}

fn main() -> ExitCode {
    use_small_pages();
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
    let (config, limits, telemetry) = Env::of_process(configuration)?;
    let shutdown = serve::shutdown_on_signal()?;
    let ended = CancellationToken::new();
    telemetry::start(&[Part::Gateway], &telemetry, telemetry::USUAL, ended.clone()).await?;
    let listener = serve::listen(listen).await?;
    let gateway = Gateway::start(config, shutdown).await?;
    tracing::info!(%listen, "serving");
    // The listener stays open while sockets drain, so that /readyz can report the drain.
    let mut served = tokio::spawn(serve::serve(listener, gateway.router(), limits, ended.clone()));
    tokio::select! {
        ended_early = &mut served => return ended_early?,
        drained = gateway.drained() => drained?,
    }
    ended.cancel();
    served.await?
}
