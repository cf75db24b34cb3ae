//! `archive [--follow]`: one pass of the archive, or passes until it is stopped. As a Lambda function, each invocation
//! is one pass, which ends before the invocation's deadline. `archive --catch-up` waits for another archive.

use std::{
    net::SocketAddr,
    process::ExitCode,
    time::{Instant, SystemTime},
};

use archive::{Archive, Config, follow, wait_until_archived};
use clap::Parser;
use lambda_runtime::{Error, LambdaEvent, Runtime, layers::TracingLayer, service_fn};
use service::{
    check_config,
    env::Env,
    healthcheck,
    metric::Part,
    serve,
    telemetry::{self, TelemetryConfig},
    version,
};
use store::{aws::Environment, pause::Pause};
use tower::util::ThenLayer;

/// Moves stored events from JetStream into the database. Configured by environment variables; infra/README.md lists
/// them.
#[derive(Parser)]
#[command(version = version::LONG)]
struct Arguments {
    /// Run until stopped, instead of one pass.
    #[arg(long)]
    follow: bool,
    /// Wait until a running archive has stored every event that was acknowledged before, then exit: the first step of a
    /// backup.
    #[arg(long, conflicts_with = "follow")]
    catch_up: bool,
    /// Ask the archive that serves its metrics there whether it runs, instead of starting one: exit code 0 or 1.
    #[arg(long, value_name = "ADDRESS:PORT")]
    healthcheck: Option<SocketAddr>,
    /// Read the configuration, print all its faults, and exit with code 0 or 1. Connects to nothing.
    #[arg(long)]
    check_config: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(address) = arguments.healthcheck {
        return healthcheck::run(address, "/metrics");
    }
    if arguments.check_config {
        return check_config::run(configuration);
    }
    serve::run(run(arguments))
}

fn configuration(env: &mut Env<'_>) -> Option<(Config, TelemetryConfig)> {
    let telemetry = TelemetryConfig::from_env(env);
    Some((Config::from_env(env)?, telemetry))
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let (config, telemetry) = Environment::load().await?.read(configuration)?;
    let shutdown = serve::shutdown_on_signal()?;
    if arguments.catch_up {
        return wait_until_archived(&config).await;
    }
    telemetry::start(&[Part::Archive], &telemetry, telemetry::USUAL, shutdown.clone()).await?;
    if arguments.follow {
        return Box::pin(follow(config, shutdown)).await;
    }
    // A batch that the shutdown interrupts is delivered again.
    shutdown.run_until_cancelled(Box::pin(run_passes(config))).await.unwrap_or(Ok(()))
}

/// One pass, or in Lambda one pass per invocation.
async fn run_passes(config: Config) -> anyhow::Result<()> {
    let archive = Archive::connect(&config).await?;
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        let moved = archive.once(None).await?;
        tracing::info!(moved, "the pass is complete");
        return Ok(());
    }
    let (archive, pause) = (&archive, &Pause::default());
    let handler = service_fn(|event: LambdaEvent<serde_json::Value>| async move {
        pause.end(archive.store()).await;
        let left = event.context.deadline().duration_since(SystemTime::now()).unwrap_or_default();
        let moved = archive.once(Some(Instant::now() + left)).await;
        pause.begin(archive.store()).await;
        let moved = moved.map_err(|error| Error::from(format!("{error:#}")))?;
        Ok::<_, Error>(serde_json::json!({ "moved": moved }))
    });
    let runtime = Runtime::new(handler).layer(TracingLayer::new());
    let runtime = runtime.layer(ThenLayer::new(telemetry::flush_after));
    runtime.run().await.map_err(|error| anyhow::anyhow!("the Lambda runtime: {error}"))
}
