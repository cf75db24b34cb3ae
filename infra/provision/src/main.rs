//! `provision [--only database,nats,storage]`: run once per release, before the servers.

use std::process::ExitCode;

use clap::Parser;
use provision::{Config, Part};
use service::{env::Env, serve, telemetry};
use tokio_util::sync::CancellationToken;

/// Brings database, NATS and storage to what this version needs; repeating it changes nothing.
#[derive(Parser)]
struct Arguments {
    /// Only these, where somebody else looks after the rest.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "database,nats,storage")]
    only: Vec<Part>,
}

fn main() -> ExitCode {
    let Arguments { only } = Arguments::parse();
    serve::run(async {
        telemetry::start(telemetry::USUAL, CancellationToken::new()).await?;
        provision::run(Env::of_process(|env| Config::of_parts(&only, env))?).await
    })
}
