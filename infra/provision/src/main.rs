//! `provision [--only database,nats,storage] [--advance] [--replay]`: run once per release, before the servers are
//! updated. The last two options are for use after a restore.

use std::process::ExitCode;

use clap::Parser;
use provision::{Config, Part, Recovery};
use service::{
    check_config,
    env::Env,
    serve,
    telemetry::{self, TelemetryConfig},
    version,
};
use store::aws::Environment;
use tokio_util::sync::CancellationToken;

/// Brings database, NATS and S3 storage to the state that this version needs. Idempotent.
#[derive(Parser)]
#[command(version = version::LONG)]
struct Arguments {
    /// Provision only these parts, where another tool manages the rest.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "database,nats,storage")]
    only: Vec<Part>,
    /// After NATS lost its data or was restored from an older backup: recreate streams that are behind the database.
    /// Events that only such a stream holds are lost.
    #[arg(long)]
    advance: bool,
    /// After the database was restored from an older backup: let the archive read all events of the streams again.
    #[arg(long)]
    replay: bool,
    /// Read the configuration, print all its faults, and exit with code 0 or 1. Connects to nothing.
    #[arg(long)]
    check_config: bool,
}

fn main() -> ExitCode {
    let Arguments { only, advance, replay, check_config } = Arguments::parse();
    let configuration = |env: &mut Env<'_>| {
        let telemetry = TelemetryConfig::from_env(env);
        Some((Config::of_parts(&only, env)?, telemetry))
    };
    if check_config {
        return check_config::run(configuration);
    }
    serve::run(async {
        let (config, telemetry) = Environment::load().await?.read(configuration)?;
        telemetry::start(&[], &telemetry, telemetry::USUAL, CancellationToken::new()).await?;
        let recovery = Recovery { advance, replay, is_asked: replay };
        provision::run(config.recovering(recovery)).await
    })
}
