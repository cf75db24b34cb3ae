//! `local [--listen 127.0.0.1:8080] [--data .local]`: everything in one process.

use std::{io::Write as _, net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::Parser;
use local::Options;
use service::{serve, telemetry};

/// Everything in one process for one machine.
#[derive(Parser)]
struct Arguments {
    /// Where the page, the functions and the gateway listen.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where all data and secrets are kept.
    #[arg(long, default_value = ".local")]
    data: PathBuf,
}

/// The person in front of it wants to see what is wrong, not what goes on. `provision` would say every
/// time what this S3 server does not have, and the server itself too.
const USUALLY: &str = "warn,provision=error,s3s=off";

fn main() -> ExitCode {
    let Arguments { listen, data } = Arguments::parse();
    serve::run(async {
        let shutdown = serve::shutdown_on_signal()?;
        telemetry::start(USUALLY, shutdown.clone()).await?;
        let shown = data.display().to_string();
        let running = local::run(Options { listen, data }, shutdown, |address| {
            let text = format!(
                "ready http://{address}\n  \
                 Open it in two browser profiles, sign up in both, make a room in one and open it in the other.\n  \
                 Its data is in {shown}. A further gateway joins with:\n    \
                 set -a; . {shown}/env; cargo run -p gateway -- --listen 127.0.0.1:8081\n  \
                 Ctrl-C stops everything.\n"
            );
            // Nobody may be reading, which is no reason to stop.
            let _ = std::io::stdout().write_all(text.as_bytes());
        });
        // A big future: everything is in it.
        Box::pin(running).await
    })
}
