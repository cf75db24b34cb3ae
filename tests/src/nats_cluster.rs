//! Three NATS servers with routes and replicated streams, on loopback.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
};

use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::{
    process::free_address,
    wait::{DEADLINE, POLL_INTERVAL},
};

/// Servers of a cluster: the least that can lose one.
const SERVERS: usize = 3;
const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../infra/nats");

/// A cluster with the configuration of infra/nats/cluster.conf. Its servers are killed when it is dropped.
pub struct NatsCluster {
    folder: TempDir,
    passwords: BTreeMap<String, String>,
    servers: Vec<ClusterServer>,
}

struct ClusterServer {
    name: String,
    /// `127.0.0.1:port` of clients.
    clients: String,
    /// `localhost:port` of the other servers: their certificate has this host name.
    routes: String,
    child: Child,
}

impl NatsCluster {
    /// Starts all servers, each with an empty disk. `variables` has the passwords of the roles.
    pub async fn start(variables: &BTreeMap<String, String>) -> Self {
        let folder = TempDir::new().unwrap();
        let certificates = Path::new(CONFIG).join("certificates.sh");
        let made = Command::new(certificates).arg(folder.path()).arg("localhost").status().await;
        assert!(made.unwrap().success());
        let is_password = |name: &str| name.starts_with("NATS_") && name.ends_with("_PASSWORD");
        let passwords = variables
            .iter()
            .filter(|(name, _)| is_password(name))
            .map(|(n, v)| (n.clone(), v.clone()));
        let passwords = passwords.collect();
        let addresses: Vec<[String; 2]> = (0..SERVERS)
            .map(|_| [free_address(), free_address().replace("127.0.0.1", "localhost")])
            .collect();
        let routes: Vec<&str> = addresses.iter().map(|[_, routes]| routes.as_str()).collect();
        let mut servers = Vec::new();
        for (number, [clients, routes_at]) in addresses.iter().enumerate() {
            let name = format!("nats-{}", number + 1);
            let child = spawn(folder.path(), &passwords, &name, [clients, routes_at], &routes);
            let (clients, routes) = (clients.clone(), routes_at.clone());
            servers.push(ClusterServer { name, clients, routes, child });
        }
        let mut cluster = Self { folder, passwords, servers };
        for number in 0..SERVERS {
            cluster.wait_until_listening(number).await;
        }
        cluster
    }

    /// `NATS_URL` of its clients.
    pub fn urls(&self) -> String {
        let urls: Vec<String> =
            self.servers.iter().map(|server| format!("nats://{}", server.clients)).collect();
        urls.join(",")
    }

    /// Kills a server, as a crash does.
    pub async fn kill(&mut self, name: &str) {
        self.server(name).child.kill().await.unwrap();
    }

    /// Starts a killed server again with what is on its disk.
    pub async fn start_again(&mut self, name: &str) {
        let routes: Vec<String> = self.servers.iter().map(|server| server.routes.clone()).collect();
        let routes: Vec<&str> = routes.iter().map(String::as_str).collect();
        let number = self.servers.iter().position(|server| server.name == name).unwrap();
        let ClusterServer { clients, routes: own, .. } = &self.servers[number];
        let child = spawn(self.folder.path(), &self.passwords, name, [clients, own], &routes);
        self.servers[number].child = child;
        self.wait_until_listening(number).await;
    }

    /// Starts a killed server again with an empty disk.
    pub async fn rebuild(&mut self, name: &str) {
        std::fs::remove_dir_all(self.disk(name)).unwrap();
        self.start_again(name).await;
    }

    fn disk(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn server(&mut self, name: &str) -> &mut ClusterServer {
        self.servers.iter_mut().find(|server| server.name == name).unwrap()
    }

    async fn wait_until_listening(&mut self, number: usize) {
        let server = &mut self.servers[number];
        let log = self.folder.path().join(format!("{}.log", server.name));
        let listening = async {
            while tokio::net::TcpStream::connect(&server.clients).await.is_err() {
                if let Some(status) = server.child.try_wait().unwrap() {
                    let log = std::fs::read_to_string(log).unwrap();
                    panic!("{} exited ({status}): {log}", server.name);
                }
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        };
        tokio::time::timeout(DEADLINE, listening).await.unwrap();
    }
}

fn spawn(
    folder: &Path,
    passwords: &BTreeMap<String, String>,
    name: &str,
    [clients, own_routes]: [&str; 2],
    routes: &[&str],
) -> Child {
    let log = folder.join(format!("{name}.log"));
    let log = std::fs::OpenOptions::new().append(true).create(true).open(log).unwrap();
    let (host, port) = clients.rsplit_once(':').unwrap();
    let routes: Vec<String> = routes.iter().map(|route| format!("nats-route://{route}")).collect();
    Command::new(local::nats::program::find().unwrap())
        .arg("-c")
        .arg(Path::new(CONFIG).join("cluster.conf"))
        .args(["-a", host, "-p", port, "--routes", &routes.join(",")])
        .args(["--cluster", &format!("nats://{own_routes}"), "-sd"])
        .arg(folder.join(name))
        .envs(passwords)
        .env("NATS_NAME", name)
        .env("NATS_CLUSTER_CERT", folder.join("server.pem"))
        .env("NATS_CLUSTER_KEY", folder.join("server.key"))
        .env("NATS_CLUSTER_CA", folder.join("ca.pem"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}
