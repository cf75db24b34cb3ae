//! `provision`: run once per release, before the servers.

use std::process::ExitCode;

use provision::Config;
use service::{env::Env, serve, telemetry};
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    serve::run(async {
        telemetry::start(telemetry::USUAL, CancellationToken::new()).await?;
        provision::run(Env::of_process(Config::from_env)?).await
    })
}
