//! The logs of a whole run contain no secret and no text of a user, even at log level `trace`.

mod accounts;
mod rooms;
mod secrets;

use std::fs::File;

use serde_json::{Value, json};
use stories::{DEADLINE, Database, PASSWORD, Server, System, TcpProxy, User, eventually, signal};
use tokio::process::{Child, Command};

use secrets::Secrets;

/// Everything that our crates and every library log.
const FILTER: &str = "trace";

/// Has a process log everything, each of its streams into a file.
fn log_to_files(system: &System, name: &str, command: &mut Command) {
    let log =
        |stream: &str| File::create(system.folder().join(format!("{name}.{stream}"))).unwrap();
    command.envs([("RUST_LOG", FILTER), ("LOG_FORMAT", "json")]);
    command.stdout(log("out")).stderr(log("err"));
}

async fn start(system: &System, name: &str) -> Server {
    system.start_server(name, |command| log_to_files(system, name, command)).await
}

fn start_archive(system: &System) -> Child {
    let mut command = Command::new(stories::binary("archive"));
    command.arg("--follow").envs(system.variables()).kill_on_drop(true);
    log_to_files(system, "archive", &mut command);
    command.spawn().unwrap()
}

/// Stops a process with SIGTERM; returns what it logged.
async fn stop(system: &System, name: &str, mut process: Child) -> String {
    signal(process.id().unwrap(), "-TERM");
    let ended = tokio::time::timeout(DEADLINE, process.wait()).await.unwrap().unwrap();
    assert!(ended.success(), "{name}: {ended}");
    let read =
        |stream: &str| std::fs::read_to_string(system.folder().join(format!("{name}.{stream}")));
    assert_eq!(read("out").unwrap(), "", "{name} logs to standard error");
    read("err").unwrap()
}

/// Makes the storage, the database and NATS unreachable in turn, with a request during each outage.
async fn cause_outages(system: &mut System, storage: &TcpProxy, ada: &User, secrets: &mut Secrets) {
    let declare = json!({ "name": "late.txt", "size": 1, "type": "text/plain" });
    let late = ada.post("/room/analytical-engine/file", declare).await.ok();
    storage.disconnect().await;
    let complete = format!("/file/{}/complete", late["file"]["id"].as_str().unwrap());
    assert!(ada.post(&complete, json!({})).await.status.is_server_error());
    storage.reconnect();
    system.allow_database_connections(false).await;
    let login = json!({ "name": ada.name, "password": PASSWORD });
    assert!(system.post("/login", login).await.status.is_server_error());
    assert!(ada.get("/user").await.status.is_server_error());
    system.allow_database_connections(true).await;
    system.wait_until_ready(&system.base).await;
    system.restart_nats();
    let id = uuid::Uuid::now_v7();
    let message = json!({ "id": id, "msg": secrets.keep("a message", "while NATS was away") });
    eventually("a message to be stored", || async {
        let sent = ada.post("/room/analytical-engine/message", message.clone()).await;
        sent.status.is_success().then_some(())
    })
    .await;
}

/// Gives the database user a password and puts a proxy in front of the object storage.
async fn prepare(system: &mut System, secrets: &mut Secrets) -> TcpProxy {
    let password = secrets.keep("the database's password", "postgres-lets-us-in");
    let database = &system.variables()["DATABASE_URL"];
    let database = database.replacen("postgres@", &format!("postgres:{password}@"), 1);
    system.set_variable("DATABASE_URL", &database);
    let direct = system.variables()["S3_ENDPOINT"].clone();
    let port = direct.rsplit_once(':').unwrap().1.parse().unwrap();
    let storage = TcpProxy::to(port).await;
    system.set_variable("S3_PUBLIC_ENDPOINT", &direct);
    system.set_variable("S3_ENDPOINT", &format!("http://{}", storage.address));
    secrets.keep_environment(system);
    storage
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_logs_of_a_whole_run_contain_no_secret() {
    let mut system = System::new(Database::Postgres).await;
    let mut secrets = Secrets::default();
    let storage = prepare(&mut system, &mut secrets).await;
    let functions = start(&system, "functions").await;
    let gateway = start(&system, "gateway").await;
    let archive = start_archive(&system);
    system.base = functions.base.clone();

    let (ada, bob) = accounts::use_accounts(&system, &mut secrets).await;
    let joins = rooms::use_room(&ada, &bob, &mut secrets).await;
    rooms::transfer_file(&system, &ada, &mut secrets).await;
    let [mut a, mut b] =
        rooms::use_sockets(&gateway.base, [&ada, &bob], &joins, &mut secrets).await;
    accounts::misplace_tokens(&system, &gateway.base, &ada, &mut secrets).await;
    cause_outages(&mut system, &storage, &ada, &mut secrets).await;
    a.expect_where("receive-msg", |data| data["msg"] == "while NATS was away").await;
    ada.post("/logout", json!({})).await;
    a.closed().await;
    bob.delete_with("/user", json!({ "password": PASSWORD })).await;
    b.closed().await;
    eventually("all messages to be archived", || async {
        (system.count_messages().await >= 2).then_some(())
    })
    .await;

    let mut found = Vec::new();
    for (name, process, expected) in [
        ("functions", functions.child, "answered"),
        ("gateway", gateway.child, "a socket ended"),
        ("archive", archive, "lost the connection to NATS; reconnecting"),
    ] {
        let log = stop(&system, name, process).await;
        let lines: Vec<Value> =
            log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
        assert!(lines.iter().any(|line| line["fields"]["message"] == expected), "{name}: {log}");
        assert!(lines.iter().any(|line| line["level"] == "TRACE"), "{name} logs at level trace");
        found.extend(secrets.leaks(name, &log));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
