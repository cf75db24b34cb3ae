//! The official Socket.IO clients for JavaScript, the Python client, and browsers, all unmodified.

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use stories::{Database, POLL_INTERVAL, System, binary, start_local_at, start_local_with};
use tokio::process::Command;

/// Browsers are slow on two busy cores.
const WITHIN: Duration = Duration::from_secs(180);

fn scripts() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("node");
    assert!(folder.join("node_modules").exists(), "`make test` gets the scripts' packages first");
    folder
}

pub async fn passes(command: &mut Command) {
    let run = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let Output { status, stdout, stderr } =
        tokio::time::timeout(WITHIN, run).await.unwrap().unwrap();
    let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success() && out.contains("1 passed, 0 failed"), "{out}\n{err}");
}

async fn official(client: &str) {
    passes_with("official_client.mjs", client).await;
}

/// Runs a script with the official client of some version.
async fn passes_with(script: &str, client: &str) {
    let system = System::new(Database::Postgres).await;
    let gateway = system.start_gateway().await;
    let mut command = Command::new("node");
    command.arg(scripts().join(script)).env("CLIENT", client);
    passes(command.env("BASE", &system.base).env("GATEWAY", &gateway.base)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_client_gets_the_last_event() {
    passes_with("logout_events.mjs", "socket.io-client").await;
    passes_with("logout_events.mjs", "socket.io-client-4.0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_client_joins_all_its_rooms_at_once() {
    passes_with("join_all_rooms.mjs", "socket.io-client").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_client_sends_after_the_join_and_may_use_base64() {
    passes_with("buffered_and_binary.mjs", "socket.io-client").await;
    passes_with("buffered_and_binary.mjs", "socket.io-client-4.0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_socket_io_client_works_unmodified() {
    official("socket.io-client").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oldest_socket_io_client_works_unmodified() {
    official("socket.io-client-4.0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_python_client_works_unmodified() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let packages = root.join("../.tools/python");
    assert!(packages.exists(), "`make test` gets the client first");
    let system = System::new(Database::Sqlite).await;
    let gateway = system.start_gateway().await;
    let mut script = Command::new("python3");
    script.arg(root.join("python/client.py")).env("PYTHONPATH", packages);
    passes(script.env("BASE", &system.base).env("GATEWAY", &gateway.base)).await;
}

/// A command that runs a script with Chromium against the pages at `base`.
pub fn browsers(script: &str, base: &str) -> Command {
    let shots = binary("local").with_file_name("screenshots");
    let chromium = ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(|name| {
        let found =
            std::process::Command::new("sh").args(["-c", &format!("command -v {name}")]).output();
        let path = String::from_utf8(found.ok()?.stdout).ok()?.trim().to_owned();
        (!path.is_empty()).then_some(path)
    });
    assert!(chromium.is_some(), "a Chromium is needed: `infra/setup.sh test` gets it");
    let mut command = Command::new("node");
    command.arg(scripts().join(script)).env("BASE", base);
    command.env("SHOTS", shots).env("CHROMIUM", chromium.unwrap());
    command
}

/// Runs a script with Chromium against a new `local`. Both get these environment variables.
async fn in_browsers(script: &str, variables: &[(&str, &str)]) {
    let data = tempfile::tempdir().unwrap();
    let mut local = Command::new(binary("local"));
    local.envs(variables.iter().copied());
    let (local, base) = start_local_with(&mut local, data.path()).await;
    passes(browsers(script, &base).envs(variables.iter().copied())).await;
    drop(local);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_users_chat_in_two_browsers() {
    in_browsers("two_browsers.mjs", &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_keeps_its_scroll_position_and_width() {
    in_browsers("page_behaviour.mjs", &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_recovers_after_a_network_outage() {
    in_browsers("offline.mjs", &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_stays_open_while_tokens_expire() {
    // The page renews a token after three quarters of its lifetime. The last quarter must be enough on a busy machine.
    in_browsers("short_tokens.mjs", &[("ACCESS_TOKEN_SECONDS", "8"), ("TICKET_SECONDS", "4")])
        .await;
}

/// Waits until the script requests an action with a file, performs it, and confirms it with another file.
/// The loop ends with the script, which has a deadline.
async fn asked(signals: &Path, what: &str, done: impl Future<Output = ()>) {
    while !signals.join(what).exists() {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    done.await;
    std::fs::write(signals.join(format!("{what}-done")), "").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_recovers_after_a_server_restart() {
    let (data, signals) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let local = || Command::new(binary("local"));
    let (mut running, base) = start_local_with(&mut local(), data.path()).await;
    let address = base.strip_prefix("http://").unwrap().to_owned();
    let operator = async {
        for round in 1..=2 {
            asked(signals.path(), &format!("stop-{round}"), async {
                running.kill().await.unwrap();
            })
            .await;
            asked(signals.path(), &format!("start-{round}"), async {
                running = start_local_at(&mut local(), &address, data.path()).await.0;
            })
            .await;
        }
        std::future::pending::<()>().await;
    };
    let mut script = browsers("server_restart.mjs", &base);
    tokio::select! {
        () = passes(script.env("SIGNALS", signals.path())) => {}
        () = operator => {}
    }
    drop(running);
}
