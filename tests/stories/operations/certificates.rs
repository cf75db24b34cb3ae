//! TLS with an authority of one's own, for NATS and S3, and a machine without root certificates.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use service::{
    env::Env,
    nats::{self, NatsConfig},
};
use stories::{Database, System, eventually, free_address};
use tempfile::TempDir;

/// A child process that is killed when this is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An authority, a server's certificate for 127.0.0.1 and a client's certificate, in files of a folder.
fn certificates(folder: &Path) {
    let openssl = |arguments: &str| {
        let mut command = Command::new("openssl");
        command.args(arguments.split(' ')).current_dir(folder).stderr(Stdio::null());
        assert!(command.status().unwrap().success(), "openssl {arguments}");
    };
    std::fs::write(folder.join("names"), "subjectAltName=IP:127.0.0.1").unwrap();
    openssl(
        "req -x509 -newkey ed25519 -nodes -subj /CN=authority -days 2 -keyout ca.key -out ca.pem",
    );
    for name in ["server", "client"] {
        openssl(&format!(
            "req -newkey ed25519 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"
        ));
        openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names \
             -out {name}.pem"
        ));
    }
}

fn nats_server() -> PathBuf {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/bin/nats-server");
    let given = std::env::var_os("NATS_SERVER").map(PathBuf::from);
    given.or(installed.exists().then_some(installed)).unwrap_or_else(|| "nats-server".into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_is_verified_and_gets_a_client_certificate() {
    let folder = TempDir::new().unwrap();
    certificates(folder.path());
    let address = free_address();
    let configuration = format!(
        "listen: \"{address}\"\ntls {{ cert_file: server.pem, key_file: server.key, ca_file: ca.pem, \
         verify: true }}\n"
    );
    std::fs::write(folder.path().join("nats.conf"), configuration).unwrap();
    let mut command = Command::new(nats_server());
    command.args(["-c", "nats.conf"]).current_dir(folder.path()).stderr(Stdio::null());
    let _server = Killed(command.spawn().unwrap());
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let connect = async |variables: &[(&str, String)]| {
        let mut variables: BTreeMap<&str, String> = variables.iter().cloned().collect();
        variables.insert("NATS_URL", format!("tls://{address}"));
        let config = Env::read(
            |name| variables.get(name).cloned(),
            |env| NatsConfig::from_env(env, "functions"),
        );
        nats::connect(&config.unwrap(), |_| {}).await
    };
    // The authority as text, the client's certificate by paths.
    let ca = ("NATS_CA", std::fs::read_to_string(path("ca.pem")).unwrap());
    let client = [("NATS_CERT", path("client.pem")), ("NATS_KEY", path("client.key"))];
    let all = [ca.clone(), client[0].clone(), client[1].clone()];
    let connected =
        eventually("NATS to accept the certificate", || async { connect(&all).await.ok() }).await;
    connected.flush().await.unwrap();
    assert!(connect(&[ca]).await.is_err(), "no client certificate");
    assert!(connect(&client).await.is_err(), "an unknown authority");
}

/// An HTTPS server that answers every HEAD with 200.
fn serve_https(folder: &Path, address: &str) -> Killed {
    const PROGRAM: &str = "
import http.server, ssl, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_): pass
host, port = sys.argv[1].split(':')
server = http.server.HTTPServer((host, int(port)), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain('server.pem', 'server.key')
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
";
    let mut command = Command::new("python3");
    command.args(["-c", PROGRAM, address]).current_dir(folder).stderr(Stdio::null());
    Killed(command.spawn().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_storage_is_verified_by_a_bundle() {
    let mut system = System::new(Database::Sqlite).await;
    let folder = TempDir::new().unwrap();
    certificates(folder.path());
    let address = free_address();
    let _server = serve_https(folder.path(), &address);
    system.set_variable("S3_ENDPOINT", &format!("https://{address}"));
    let storage_answers = async |base: String| {
        let ready = reqwest::get(format!("{base}/readyz")).await.unwrap();
        ready.json::<serde_json::Value>().await.unwrap()["storage"] == true
    };
    let without = system.start_functions().await;
    let bundle = folder.path().join("ca.pem");
    system.set_variable("AWS_CA_BUNDLE", bundle.to_str().unwrap());
    let with = system.start_functions().await;
    eventually("the storage to answer", || async {
        storage_answers(with.clone()).await.then_some(())
    })
    .await;
    assert!(!storage_answers(without).await, "an unknown authority");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_without_root_certificates_is_a_clear_error() {
    let system = System::new(Database::Sqlite).await;
    let empty = TempDir::new().unwrap();
    let start = async |endpoint: &str| {
        let mut command = system.command("functions");
        command
            .args(["--listen", &free_address()])
            .env("S3_ENDPOINT", endpoint)
            .env("SSL_CERT_DIR", empty.path())
            .env_remove("SSL_CERT_FILE")
            .env_remove("AWS_CA_BUNDLE")
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        tokio::time::timeout(std::time::Duration::from_secs(4), child.wait()).await
    };
    let status = start("https://s3.example").await.expect("it exits").unwrap();
    assert!(!status.success());
    let log = std::fs::read_to_string(system.folder().join("functions.log")).unwrap();
    assert!(log.contains("error: this machine has no root certificates"), "{log}");
    assert!(!log.contains("panicked"), "{log}");
    let plain = &system.variables()["S3_ENDPOINT"];
    assert!(start(plain).await.is_err(), "without TLS none is needed");
}
