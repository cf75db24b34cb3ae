//! One PostgreSQL cluster for a run of the tests, in a folder of its own, and a database per world.

use std::{
    io::Write as _,
    net::TcpListener,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use sqlx::{Connection as _, Executor as _, PgConnection};

use crate::eventually;

const READY_WITHIN: Duration = Duration::from_secs(30);

static CLUSTER: OnceLock<Cluster> = OnceLock::new();

struct Cluster {
    port: u16,
    log: PathBuf,
    _server: Child,
    /// Its input is kept open: when this process ends, however it does, the shell at the other end
    /// stops the server and removes its folder.
    _watcher: Child,
}

/// A new, empty database.
pub async fn new_database() -> String {
    let port = CLUSTER.get_or_init(start).port;
    let url = |database: &str| format!("postgres://postgres@127.0.0.1:{port}/{database}");
    let name = format!("w{}", uuid::Uuid::new_v4().simple());
    // Its port opens before it takes anybody in.
    let mut admin = eventually("PostgreSQL to take us in", || async {
        PgConnection::connect(&url("postgres")).await.ok()
    })
    .await;
    let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
    admin.execute(create).await.unwrap();
    admin.close().await.unwrap();
    url(&name)
}

/// Where the server logs, every line with its database and a `|` in front.
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

/// PostgreSQL refuses to run as root; then it runs as its own user.
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
    // The user that the server runs as must be able to come here.
    Command::new("chmod").arg("0777").arg(&folder).status().unwrap();
    let data = folder.join("data");
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
        .arg(&data)
        .current_dir("/")
        .output()
        .unwrap();
    assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let log_path = folder.join("log");
    let log = std::fs::File::create(&log_path).unwrap();
    let mut server = command(&bin.join("postgres"))
        .arg("-D")
        .arg(&data)
        .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"])
        .args(["-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "max_connections=400"])
        // As infra/README.md asks for.
        .args(["-c", "random_page_cost=1.1"])
        .args(["-c", "log_line_prefix=%d|"])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .process_group(0)
        .spawn()
        .unwrap();
    let watcher = Command::new("/bin/sh")
        .args(["-c", r#"read -r _; kill -INT -"$1"; sleep 1; rm -rf "$2""#, "watch"])
        .arg(server.id().to_string())
        .arg(&folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    let deadline = Instant::now() + READY_WITHIN;
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        if server.try_wait().unwrap().is_some() || Instant::now() > deadline {
            let log = std::fs::read_to_string(&log_path).unwrap_or_default();
            let _ = writeln!(std::io::stderr(), "{log}");
            panic!("PostgreSQL did not start");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Cluster { port, log: log_path, _server: server, _watcher: watcher }
}
