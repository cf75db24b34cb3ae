//! `provision [--only database,nats,storage] [--advance] [--replay]`: run once per release, before the
//! servers; the last two after a restore.

use std::process::ExitCode;

use clap::Parser;
use provision::{Config, Part, Recovery};
use service::{env::Env, serve, telemetry};
use tokio_util::sync::CancellationToken;

/// Brings database, NATS and storage to what this version needs; repeating it changes nothing.
#[derive(Parser)]
struct Arguments {
    /// Only these, where somebody else looks after the rest.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "database,nats,storage")]
    only: Vec<Part>,
    /// After NATS lost its data or was restored from an older backup: make streams anew that are behind
    /// the database. What such a stream holds and the database does not is lost.
    #[arg(long)]
    advance: bool,
    /// After the database was restored from an older backup: have the archive take everything again
    /// that the streams still hold.
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
