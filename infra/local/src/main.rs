//! `local [--listen 127.0.0.1:8080] [--s3-listen …] [--data .local]`: the whole system in one process.
//! `local backup FOLDER` and `local restore FOLDER` back up its data folder and restore it.

mod commands;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::Parser;
use local::Options;
use service::{
    check_config,
    env::Env,
    metric::Part,
    serve,
    telemetry::{self, TelemetryConfig},
    version,
};

use self::commands::Command;

/// Runs the whole system in one process, for a single machine.
#[derive(Parser)]
#[command(version = version::LONG, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Address of the web page, the HTTP functions and the gateway.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Address of the S3 server, for a reverse proxy in front of it [default: a free port of the IP address above]
    #[arg(long)]
    s3_listen: Option<SocketAddr>,
    /// Folder of all data and secrets.
    #[arg(long, default_value = ".local")]
    data: PathBuf,
    /// Read the configuration, print all its faults, and exit with code 0 or 1. Starts nothing.
    #[arg(long)]
    check_config: bool,
}

/// Log filter unless `RUST_LOG` is set: only problems. `provision` and the S3 server would warn at every start about S3
/// features that the latter does not support.
const DEFAULT_LOG_FILTER: &str = "warn,provision=error,s3s=off";

fn main() -> ExitCode {
    let Arguments { command, listen, s3_listen, data, check_config } = Arguments::parse();
    if let Some(command) = command {
        return serve::run(Box::pin(command.run()));
    }
    let configuration = |env: &mut Env<'_>| {
        let telemetry = TelemetryConfig::from_env(env);
        local::check_config(env, listen)?;
        Some(telemetry)
    };
    if check_config {
        return check_config::run(configuration);
    }
    serve::run(async {
        let telemetry = Env::of_process(configuration)?;
        let shutdown = serve::shutdown_on_signal()?;
        telemetry::start(&Part::ALL, &telemetry, DEFAULT_LOG_FILTER, shutdown.clone()).await?;
        let shown = data.display().to_string();
        let running = local::run(Options { listen, s3_listen, data }, shutdown, |address| {
            commands::print(&format!(
                "ready http://{address}\n  \
                 Open it in two browser profiles, sign up in both, create a room in one and open it in the other.\n  \
                 All data is in {shown}. To add a gateway, run:\n    \
                 set -a; . {shown}/env; cargo run -p gateway -- --listen 127.0.0.1:8081\n  \
                 Ctrl-C stops everything.\n"
            ));
        });
        // Boxed, because the future of all parts is large.
        Box::pin(running).await
    })
}
