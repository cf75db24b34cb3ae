//! `archive [--follow]`: moves stored events into the database. As a Lambda function, until the streams
//! are empty or the call's deadline is near.

use std::{
    process::ExitCode,
    time::{Instant, SystemTime},
};

use archive::{Archive, Config, follow};
use clap::Parser;
use lambda_http::{Error, LambdaEvent, lambda_runtime, service_fn};
use service::{env::Env, serve, telemetry};

/// Moves stored events from JetStream into the database. Configured by environment variables;
/// infra/README.md lists them.
#[derive(Parser)]
struct Arguments {
    /// Go on until stopped.
    #[arg(long)]
    follow: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    serve::run(run(arguments))
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let config = Env::of_process(Config::from_env)?;
    let shutdown = serve::shutdown_on_signal()?;
    telemetry::start(telemetry::USUAL, shutdown.clone()).await?;
    if arguments.follow {
        return Box::pin(follow(config, shutdown)).await;
    }
    // A batch that is cut off comes again.
    shutdown.run_until_cancelled(Box::pin(one_by_one(config))).await.unwrap_or(Ok(()))
}

async fn one_by_one(config: Config) -> anyhow::Result<()> {
    let archive = Archive::connect(&config).await?;
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        let moved = archive.once(None).await?;
        tracing::info!(moved, "one pass");
        return Ok(());
    }
    let archive = &archive;
    let handler = service_fn(|event: LambdaEvent<serde_json::Value>| async move {
        let left = event.context.deadline().duration_since(SystemTime::now()).unwrap_or_default();
        let moved = archive.once(Some(Instant::now() + left)).await;
        let moved = moved.map_err(|error| Error::from(format!("{error:#}")))?;
        Ok::<_, Error>(serde_json::json!({ "moved": moved }))
    });
    lambda_runtime::run(handler)
        .await
        .map_err(|error| anyhow::anyhow!("the Lambda runtime: {error}"))
}
