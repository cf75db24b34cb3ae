//! The binaries as users and operators start them.

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::json;
use stories::{
    Database, Server, Socket, System, binary, eventually, free_address, signal, start_local,
    start_local_with,
};
use tokio::process::Command;

async fn refusal(command: &mut Command) -> (Output, String) {
    let output = command.stdin(Stdio::null()).output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, text)
}

async fn wait_until_ended(process: u32) {
    eventually("a process to end", || async {
        let mut probe = std::process::Command::new("kill");
        let probe = probe.args(["-0", &process.to_string()]).stderr(Stdio::null()).status();
        (!probe.unwrap().success()).then_some(())
    })
    .await;
}

/// The process id of the nats-server that `local` started for this data folder, if one runs.
pub fn nats_of(data: &Path) -> Option<u32> {
    let listing = std::process::Command::new("ps").args(["-eo", "pid,args"]).output().unwrap();
    let listing = String::from_utf8_lossy(&listing.stdout).into_owned();
    let folder = data.join("nats").display().to_string();
    let line = listing.lines().find(|line| line.contains("nats-server") && line.contains(&folder));
    line?.split_whitespace().next()?.parse().ok()
}

pub fn local(listen: &str, data: &Path) -> Command {
    let mut command = Command::new(binary("local"));
    command.args(["--listen", listen, "--data"]).arg(data);
    command
}

/// Asserts that a command fails with one line of error output, which contains `reason`.
pub async fn assert_refused(command: &mut Command, reason: &str) {
    let (output, text) = refusal(command).await;
    assert!(
        !output.status.success() && text.lines().count() == 1 && text.contains(reason),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_serves_everything_and_keeps_its_data() {
    let data = tempfile::tempdir().unwrap();
    let (mut first, base) = start_local(data.path()).await;
    let http = reqwest::Client::new();
    let body = json!({ "name": "ada", "password": "correct horse" });
    let made = http.post(format!("{base}/user")).json(&body).send().await.unwrap();
    assert_eq!(made.status(), 201);
    let nats = nats_of(data.path()).unwrap();

    // Another gateway joins with the variables that `local` wrote.
    let command = |address: &str| {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", r#"set -a; . "$1/env"; exec "$2" --listen "$3""#, "join"]);
        command.arg(data.path()).arg(binary("gateway")).arg(address);
        command
    };
    let is_ready = |base: String| {
        let ready = http.get(format!("{base}/readyz")).send();
        async { ready.await.is_ok_and(|answer| answer.status().is_success()) }
    };
    let mut gateway = Server::start(command, is_ready).await;
    let login = http.post(format!("{base}/login")).json(&body).send().await.unwrap();
    let login: serde_json::Value = login.json().await.unwrap();
    let token = login["accessToken"].as_str().unwrap();
    for gateway in [base.as_str(), &gateway.base] {
        Socket::connect(gateway, token).await;
    }
    gateway.stop().await;

    // A second `local` with the same folder or address fails with a reason.
    assert_refused(&mut local("127.0.0.1:0", data.path()), "another `local` uses").await;
    let other = tempfile::tempdir().unwrap();
    let address = base.strip_prefix("http://").unwrap();
    assert_refused(&mut local(address, other.path()), "cannot listen on").await;
    let mut without_nats = local("127.0.0.1:0", other.path());
    without_nats.env("NATS_SERVER", "/nowhere/nats-server");
    assert_refused(&mut without_nats, "nats-server").await;

    signal(first.id().unwrap(), "-INT");
    assert!(first.wait().await.unwrap().success());
    wait_until_ended(nats).await;

    let started = Instant::now();
    let (mut second, base) = start_local(data.path()).await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let login = http.post(format!("{base}/login")).json(&body).send().await.unwrap();
    assert_eq!(login.status(), 200);
    // Its child ends with it, even when it is killed.
    let nats = nats_of(data.path()).unwrap();
    second.kill().await.unwrap();
    wait_until_ended(nats).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_and_gateway_run_as_processes() {
    let system = System::new(Database::Postgres).await;
    let mut functions = system.start_server("functions", |_| {}).await;
    let mut gateway = system.start_server("gateway", |_| {}).await;
    let ada = system.user("ada").await;
    let room = ada.create_room("lobby").await;
    let mut socket = Socket::connect(&gateway.base, &ada.access).await;
    socket.ok("join-room", ada.join_data("lobby", None).await).await;
    let sent = socket.ok("send-msg", json!({ "roomId": room, "msg": "hi" })).await;
    let page = ada.at(&functions.base).get("/room/lobby/message").await.ok();
    assert_eq!(page["items"][0]["seq"], sent["seq"]);
    drop(socket);
    for process in [&mut functions, &mut gateway] {
        process.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_serve_while_they_drain() {
    const DRAIN: Duration = Duration::from_secs(3);
    let system = System::new(Database::Sqlite).await;
    let drain = DRAIN.as_secs().to_string();
    let configure = |command: &mut Command| {
        command.env("DRAIN_SECONDS", &drain);
    };
    let mut functions = system.start_server("functions", configure).await;
    let ada = system.user("ada").await.at(&functions.base);
    let signalled = Instant::now();
    signal(functions.id(), "-TERM");
    let ready = eventually("the process not to be ready", || async {
        let ready = ada.get("/readyz").await;
        (ready.status == 503).then_some(ready.body)
    })
    .await;
    assert_eq!((&ready["status"], &ready["database"]), (&json!("draining"), &json!(true)));
    while signalled.elapsed() < DRAIN.mul_f64(0.8) {
        // A new connection each time, as a load balancer may open one.
        let api = stories::Api::new(&functions.base);
        assert_eq!(
            api.request(reqwest::Method::GET, "/healthz").send().await.unwrap().status(),
            200
        );
        tokio::time::sleep(stories::POLL_INTERVAL).await;
    }
    let status = tokio::time::timeout(stories::DEADLINE, functions.child.wait()).await.unwrap();
    assert!(status.unwrap().success() && signalled.elapsed() >= DRAIN);
}

/// Every file and folder below a folder, with its mode.
fn modes(folder: &Path) -> Vec<(PathBuf, u32)> {
    let mut found = vec![(folder.to_owned(), mode(folder))];
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => found.extend(modes(&entry.path())),
            _ => found.push((entry.path(), mode(&entry.path()))),
        }
    }
    found
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_data_of_local_is_private() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().join("new");
    for left_open in [false, true] {
        if left_open {
            // The modes that versions before 0.2 left.
            for (path, mode) in modes(&folder) {
                std::fs::set_permissions(path, Permissions::from_mode(mode | 0o044)).unwrap();
            }
        }
        let (mut local, base) = start_local(&folder).await;
        let body = json!({ "name": format!("ada-{left_open}"), "password": "correct horse" });
        let made = reqwest::Client::new().post(format!("{base}/user")).json(&body).send().await;
        assert_eq!(made.unwrap().status(), 201);
        let found = modes(&folder);
        assert!(found.iter().any(|(path, _)| path.ends_with("chat.db")), "{found:?}");
        for (path, mode) in found {
            assert_eq!(mode & 0o077, 0, "{} is {mode:o}", path.display());
        }
        signal(local.id().unwrap(), "-INT");
        assert!(local.wait().await.unwrap().success());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_accepts_origins_from_the_environment() {
    const SHOP: &str = "https://shop.example";
    let data = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary("local"));
    // A reverse proxy needs a fixed address.
    let s3_address = free_address();
    command.args(["--s3-listen", &s3_address]);
    // Variables for other processes in the same shell must have no effect.
    let (_local, base) = start_local_with(
        command.env("ALLOWED_ORIGINS", SHOP).env("NATS_USER", "other").env("JWKS", "{}"),
        data.path(),
    )
    .await;
    let env = std::fs::read_to_string(data.path().join("env")).unwrap();
    let storage = env.lines().find_map(|line| line.strip_prefix("export S3_ENDPOINT='"));
    let storage = storage.unwrap().trim_end_matches('\'').to_owned();
    assert_eq!(storage, format!("http://{s3_address}"));
    let http = reqwest::Client::new();
    for (origin, is_allowed) in
        [(SHOP, true), (base.as_str(), true), ("https://evil.example", false)]
    {
        for url in [format!("{base}/user"), format!("{storage}/files/x")] {
            let asked = http
                .request(reqwest::Method::OPTIONS, &url)
                .header("origin", origin)
                .header("access-control-request-method", "PUT")
                .send();
            let answer = asked.await.unwrap();
            let allowed = answer.headers().get("access-control-allow-origin");
            assert_eq!(
                allowed.is_some_and(|allowed| allowed == origin),
                is_allowed,
                "{url} {origin}"
            );
        }
        let polling = format!("{base}/socket.io/?EIO=4&transport=polling");
        let answer = http.get(polling).header("origin", origin).send().await.unwrap();
        assert_eq!(answer.status().is_success(), is_allowed, "{origin}");
    }
}
