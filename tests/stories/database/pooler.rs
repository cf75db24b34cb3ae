//! PostgreSQL behind PgBouncer in transaction mode: each transaction may run on another connection to the server.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

use futures_util::future::join_all;
use serde_json::json;
use stories::{Database, System, eventually, free_address};

/// A running PgBouncer. It is killed when this is dropped.
struct Pooler(Child);

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts PgBouncer, which `infra/setup.sh test` installs, with two connections to the database. Returns its address
/// too.
async fn start(folder: &Path, database_url: &str) -> (Pooler, String) {
    let (server, _) = database_url.rsplit_once('/').unwrap();
    let port = server.rsplit_once(':').unwrap().1;
    let address = free_address();
    let (_, own_port) = address.rsplit_once(':').unwrap();
    let file = folder.join("pgbouncer.ini");
    let configuration = format!(
        "[databases]\n* = host=127.0.0.1 port={port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
         listen_port = {own_port}\nauth_type = any\npool_mode = transaction\n\
         default_pool_size = 2\nmax_client_conn = 200\nunix_socket_dir =\n\
         server_reset_query =\n"
    );
    // With `auth_type = any` the user of each database has to be named.
    let configuration =
        configuration.replace(&format!("port={port}"), &format!("port={port} user=postgres"));
    std::fs::write(&file, configuration).unwrap();
    // It refuses to run as root, and another user must be able to read the file.
    for path in [folder, &file] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let program = ["/usr/sbin/pgbouncer", "pgbouncer"];
    let program = program.into_iter().find(|path| Path::new(path).exists()).unwrap_or("pgbouncer");
    let mut command = Command::new(program);
    if is_root {
        command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", program]);
    }
    let log = std::fs::File::create(folder.join("pgbouncer.log")).unwrap();
    let child =
        command.arg(&file).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let pooler = Pooler(child.spawn().unwrap());
    eventually("PgBouncer to listen", || async {
        tokio::net::TcpStream::connect(&address).await.ok().map(drop)
    })
    .await;
    (pooler, address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_works_behind_a_transaction_pooler() {
    let mut system = System::new(Database::Postgres).await;
    let url = system.variables()["DATABASE_URL"].clone();
    let (pooler, address) = start(system.folder(), &url).await;
    let (_, name) = url.rsplit_once('/').unwrap();
    system.set_variable("DATABASE_URL", &format!("postgres://postgres@{address}/{name}"));
    system.set_variable("DATABASE_POOLER", "transaction");
    // Two processes that share the pooler's two connections.
    let bases = [system.start_functions().await, system.start_functions().await];
    system.set_variable("LIMIT_USER_EVENT_RATE", "0");
    let ada = system.user("ada").await;
    ada.create_room("lobby").await;
    let clients = (0..12).map(|n| {
        let user = ada.at(&bases[n % 2]);
        async move {
            for _ in 0..10 {
                let rooms = user.get("/room").await;
                assert!(rooms.status.is_success(), "{}", rooms.body);
                let message = json!({ "id": uuid::Uuid::now_v7(), "msg": "hello" });
                let sent = user.post("/room/lobby/message", message).await;
                assert!(sent.status.is_success(), "{}", sent.body);
                let page = user.get("/room/lobby/message?limit=5").await;
                assert!(page.status.is_success(), "{}", page.body);
            }
        }
    });
    join_all(clients).await;
    assert_eq!(system.archive_once().await, 121);
    let found = ada.at(&bases[0]).get("/room/lobby/message/search?q=hello").await;
    assert!(found.status.is_success(), "{}", found.body);
    // A violated constraint ends its own transaction only.
    let again = json!({ "name": "lobby" });
    for base in &bases {
        ada.at(base).post("/room", again.clone()).await.problem(409, "room-exists");
        assert!(ada.at(base).get("/room").await.status.is_success());
    }
    drop(pooler);
}
