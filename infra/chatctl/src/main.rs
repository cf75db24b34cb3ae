//! `chatctl`: what an operator does with accounts, rooms, sessions and bans. Configured by the environment of
//! `functions`, and run beside it: `docker compose exec functions chatctl users list`.

mod bans;
mod connections;
mod output;
mod rooms;
mod sessions;
mod users;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use service::{
    check_config,
    env::Env,
    serve,
    telemetry::{self, TelemetryConfig},
    version,
};
use store::{admin, aws::Environment};

use self::{
    connections::{Config, Connections},
    output::Output,
};

/// Manages users, rooms, sessions and bans. Reads the same environment variables as `functions`: DATABASE_URL,
/// NATS_URL, NATS_USER and NATS_PASSWORD. Users and rooms are given by name or id.
#[derive(Parser)]
#[command(version = version::LONG, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Print JSON instead of a table.
    #[arg(long, global = true)]
    json: bool,
    /// Read the configuration, print all its faults, and exit with code 0 or 1. Connects to nothing.
    #[arg(long)]
    check_config: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Accounts.
    #[command(subcommand)]
    Users(users::Command),
    /// Rooms.
    #[command(subcommand)]
    Rooms(rooms::Command),
    /// Logins of a user.
    #[command(subcommand)]
    Sessions(sessions::Command),
    /// Bans of users from rooms.
    #[command(subcommand)]
    Bans(bans::Command),
    /// Count users, rooms, messages and files. Slow on a big database.
    Stats,
}

/// Log filter unless `RUST_LOG` is set.
const DEFAULT_LOG_FILTER: &str = "warn";

fn configuration(env: &mut Env<'_>) -> Option<(Config, TelemetryConfig)> {
    let telemetry = TelemetryConfig::from_env(env);
    Some((Config::from_env(env)?, telemetry))
}

fn main() -> ExitCode {
    let Arguments { command, json, check_config } = Arguments::parse();
    let Some(command) = command.filter(|_| !check_config) else {
        return check_config::run(configuration);
    };
    serve::run(async move {
        let (config, telemetry) = Environment::load().await?.read(configuration)?;
        // Not the metrics: `functions` in the same container serves them at METRICS_LISTEN.
        telemetry::start_logs(&telemetry, DEFAULT_LOG_FILTER);
        let connections = Connections::open(config).await?;
        let output = Output { json };
        match command {
            Command::Users(command) => Box::pin(command.run(&connections, output)).await?,
            Command::Rooms(command) => Box::pin(command.run(&connections, output)).await?,
            Command::Sessions(command) => command.run(&connections, output).await?,
            Command::Bans(command) => Box::pin(command.run(&connections, output)).await?,
            Command::Stats => output.one(&admin::stats(&connections.database).await?)?,
        }
        connections.close().await;
        Ok(())
    })
}
