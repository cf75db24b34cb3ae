//! `local` as people run it on one machine: restarts of its nats-server, backups, and a proxy with TLS in front.

mod backup;
mod behind_caddy;
mod nats_restarts;

use std::path::Path;

use stories::{Api, binary, start_local_with};
use tokio::process::{Child, Command};

/// Starts `local` without limits of rates, so that tests can send as fast as they like.
async fn start(data: &Path, variables: &[(&str, &str)]) -> (Child, Api) {
    let mut command = Command::new(binary("local"));
    for limit in ["LIMIT_EVENT_RATE", "LIMIT_USER_EVENT_RATE", "LIMIT_ROOM_EVENT_RATE"] {
        command.env(limit, "0");
    }
    command.envs(variables.iter().copied());
    let (local, base) = start_local_with(&mut command, data).await;
    (local, Api::new(&base))
}
