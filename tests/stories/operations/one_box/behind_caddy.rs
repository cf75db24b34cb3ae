//! `local` behind the Caddyfile of infra/systemd, with certificates of Caddy's own CA, and the unit that runs it.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use reqwest::{Certificate, StatusCode};
use serde_json::json;
use stories::{
    Api, DEADLINE, PASSWORD, POLL_INTERVAL, binary, eventually, free_address, start_local_at,
};
use tokio::process::{Child, Command};

use crate::clients::{browsers, passes};

const PAGE: &str = "chat.localhost";
const FILES: &str = "files.chat.localhost";

fn infra(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra/systemd").join(path);
    std::fs::read_to_string(path).unwrap()
}

fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from}");
    text.replace(from, to)
}

fn port(address: &str) -> &str {
    address.rsplit_once(':').unwrap().1
}

/// A running Caddy.
struct Caddy {
    _process: Child,
    folder: PathBuf,
    https: String,
}

impl Caddy {
    /// Runs the Caddyfile with names and ports of this test before these addresses.
    fn start(folder: &Path, page: &str, files: &str) -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/caddy/bin/caddy");
        assert!(program.exists(), "`infra/setup.sh test` gets Caddy first");
        let sites = infra("Caddyfile");
        let sites = replaced(&sites, "chat.example.org", PAGE);
        let sites = replaced(&sites, "127.0.0.1:8080", page);
        let sites = replaced(&sites, "127.0.0.1:9000", files);
        let (http, https) = (free_address(), free_address());
        let options = [
            "admin off".to_owned(),
            "local_certs".to_owned(),
            "skip_install_trust".to_owned(),
            "default_bind 127.0.0.1".to_owned(),
            format!("http_port {}", port(&http)),
            format!("https_port {}", port(&https)),
            format!("storage file_system {}", folder.display()),
        ];
        let config = folder.join("Caddyfile");
        std::fs::write(&config, format!("{{\n{}\n}}\n{sites}", options.join("\n"))).unwrap();
        let log = std::fs::File::create(folder.join("caddy.log")).unwrap();
        let process = Command::new(program)
            .args(["run", "--adapter", "caddyfile", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { _process: process, folder: folder.to_owned(), https }
    }

    /// The origin of a host name.
    fn origin(&self, host: &str) -> String {
        format!("https://{host}:{}", port(&self.https))
    }

    /// A client that trusts Caddy's CA only.
    async fn client(&self) -> reqwest::Client {
        let root = self.folder.join("pki/authorities/local/root.crt");
        let root = eventually("Caddy's CA", || async { std::fs::read(&root).ok() }).await;
        let address = self.https.parse().unwrap();
        let client = reqwest::Client::builder()
            .tls_certs_only([Certificate::from_pem(&root).unwrap()])
            .redirect(reqwest::redirect::Policy::none());
        client.resolve(PAGE, address).resolve(FILES, address).build().unwrap()
    }
}

async fn answers(http: &reqwest::Client, url: &str) {
    let asked = async {
        while http.get(url).send().await.is_err() {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    tokio::time::timeout(DEADLINE, asked).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn page_sockets_and_uploads_work_over_https_with_two_host_names() {
    let (data, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (listen, s3_listen) = (free_address(), free_address());
    let caddy = Caddy::start(folder.path(), &listen, &s3_listen);
    let mut local = Command::new(binary("local"));
    local.args(["--s3-listen", &s3_listen]).env("TRUSTED_PROXY_HOPS", "1");
    local.env("PUBLIC_URL", caddy.origin(PAGE)).env("S3_PUBLIC_ENDPOINT", caddy.origin(FILES));
    let (_local, _) = start_local_at(&mut local, &listen, data.path()).await;

    let http = caddy.client().await;
    answers(&http, &caddy.origin(PAGE)).await;
    answers(&http, &caddy.origin(FILES)).await;
    let page = http.get(caddy.origin(PAGE)).header("accept", "text/html").send().await.unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    let files = http.get(caddy.origin(FILES)).header("accept", "text/html").send().await.unwrap();
    assert_eq!(files.status(), StatusCode::FORBIDDEN, "the S3 server, which has no page");
    let api = Api { http, base: caddy.origin(PAGE) };
    api.user("cyd").await;
    let account = json!({ "name": "cyd", "password": PASSWORD });
    let login = api.post("/login", account).await;
    let cookie = login.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("Secure") && cookie.contains("HttpOnly"), "{cookie}");

    passes(&mut browsers("two_browsers.mjs", &caddy.origin(PAGE))).await;
}

/// Runs `systemd-analyze` on the unit with the path of an existing program. None where systemd is not installed.
async fn analyze(arguments: &[&str]) -> Option<()> {
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("chatting-room.service");
    let program = binary("local").display().to_string();
    let text = replaced(&infra("chatting-room.service"), "/usr/local/bin/chatting-room", &program);
    std::fs::write(&unit, text).unwrap();
    let output = Command::new("systemd-analyze").args(arguments).arg(&unit).output().await.ok()?;
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success() && err.is_empty(), "{out}\n{err}");
    Some(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_unit_is_valid_and_hardened() {
    if analyze(&["verify", "--man=no"]).await.is_some() {
        // The exposure level is 1.1 of 10; the threshold is in tenths.
        analyze(&["security", "--offline=true", "--threshold=15"]).await;
    }
}
