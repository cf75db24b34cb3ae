//! One temporary PostgreSQL cluster for a run of the tests, with a database for each system.

use std::{
    io::Write as _,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use sqlx::{Connection as _, Executor as _, PgConnection};

use crate::wait::eventually;

const READY_WITHIN: Duration = Duration::from_secs(30);
/// How often the server is started anew because another process took its port first.
const START_ATTEMPTS: usize = 5;

static CLUSTER: OnceLock<Cluster> = OnceLock::new();

struct Cluster {
    port: u16,
    log: PathBuf,
    _server: Child,
    /// A shell that reads its input, which this process keeps open. When this process ends for any reason,
    /// the shell stops the server and removes the folder.
    _watcher: Child,
}

/// A new, empty database.
pub async fn new_database() -> String {
    let port = CLUSTER.get_or_init(start).port;
    let url = |database: &str| format!("postgres://postgres@127.0.0.1:{port}/{database}");
    let name = format!("w{}", uuid::Uuid::new_v4().simple());
    // The port opens before the server accepts clients.
    let mut admin = eventually("PostgreSQL to accept a connection", || async {
        PgConnection::connect(&url("postgres")).await.ok()
    })
    .await;
    let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
    admin.execute(create).await.unwrap();
    admin.close().await.unwrap();
    url(&name)
}

/// The server's log. Every line begins with the name of its database and a `|`.
pub fn log() -> &'static Path {
    &CLUSTER.get_or_init(start).log
}

fn binaries() -> PathBuf {
    let newest = || {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
        let bins = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
        bins.filter(|bin| bin.join("initdb").exists()).max()
    };
    let on_path = || {
        let output = Command::new("pg_config").arg("--bindir").output().ok()?;
        let bin = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
        bin.join("initdb").exists().then_some(bin)
    };
    newest().or_else(on_path).expect("PostgreSQL's server is needed: `infra/setup.sh test` gets it")
}

/// A command of the user `postgres` if this runs as root: PostgreSQL refuses to run as root.
fn command(program: &Path) -> Command {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout == b"0\n");
    if !is_root {
        return Command::new(program);
    }
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--"]).arg(program);
    command
}

fn start() -> Cluster {
    let bin = binaries();
    let folder = tempfile::Builder::new().prefix("chat-pg-").tempdir().unwrap().keep();
    // The user that the server runs as needs access.
    Command::new("chmod").arg("0777").arg(&folder).status().unwrap();
    initialize(&bin, &folder);
    let log = folder.join("log");
    for _ in 0..START_ATTEMPTS {
        let address = crate::process::free_address();
        let port = address.rsplit_once(':').unwrap().1.parse().unwrap();
        let mut server = spawn_server(&bin, &folder, port, &log);
        if is_listening(&mut server, port) {
            let watcher = spawn_watcher(server.id(), &folder);
            return Cluster { port, log, _server: server, _watcher: watcher };
        }
        // It exited: another process took the port first.
    }
    let log = std::fs::read_to_string(&log).unwrap_or_default();
    let _ = writeln!(std::io::stderr(), "{log}");
    panic!("PostgreSQL did not start");
}

fn initialize(bin: &Path, folder: &Path) {
    let made = command(&bin.join("initdb"))
        .args([
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
            "-D",
        ])
        .arg(folder.join("data"))
        .current_dir("/")
        .output()
        .unwrap();
    assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
}

fn spawn_server(bin: &Path, folder: &Path, port: u16, log: &Path) -> Child {
    let log = std::fs::File::create(log).unwrap();
    command(&bin.join("postgres"))
        .arg("-D")
        .arg(folder.join("data"))
        .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"])
        .args(["-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "max_connections=400"])
        // The setting that infra/README.md recommends.
        .args(["-c", "random_page_cost=1.1"])
        .args(["-c", "log_line_prefix=%d|"])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .process_group(0)
        .spawn()
        .unwrap()
}

fn spawn_watcher(server: u32, folder: &Path) -> Child {
    Command::new("/bin/sh")
        .args(["-c", r#"read -r _; kill -INT -"$1"; sleep 1; rm -rf "$2""#, "watch"])
        .arg(server.to_string())
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap()
}

/// Waits until the server listens. False if it exits before.
fn is_listening(server: &mut Child, port: u16) -> bool {
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        if server.try_wait().unwrap().is_some() || Instant::now() > deadline {
            return false;
        }
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return true;
        }
        std::thread::sleep(crate::wait::POLL_INTERVAL);
    }
}
