//! `provision [--only database,nats,storage] [--advance] [--replay]`: run once per release, before the servers are
//! updated. The last two options are for use after a restore.

use std::process::ExitCode;

use clap::Parser;
use provision::{Config, Part, Recovery};
use service::{env::Env, serve, telemetry};
use tokio_util::sync::CancellationToken;

/// Brings database, NATS and S3 storage to the state that this version needs. Idempotent.
#[derive(Parser)]
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
}

fn main() -> ExitCode {
    let Arguments { only, advance, replay } = Arguments::parse();
    serve::run(async {
        telemetry::start(telemetry::USUAL, CancellationToken::new()).await?;
        let config = Env::of_process(|env| Config::of_parts(&only, env))?;
        let recovery = Recovery { advance, replay, is_asked: replay };
        provision::run(config.recovering(recovery)).await
    })
}
