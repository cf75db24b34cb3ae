//! Binaries of the workspace as child processes, on addresses that are free.

use std::{
    collections::BTreeSet,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, OnceLock, PoisonError},
};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Child,
};

use crate::wait::DEADLINE;

/// How often a server is started anew because another process took its port first.
const START_ATTEMPTS: usize = 5;

/// A running server process. It is killed when this is dropped.
pub struct Server {
    pub child: Child,
    /// `host:port`
    pub address: String,
    /// `http://host:port`
    pub base: String,
}

impl Server {
    /// Starts a server on a free address and waits until it is ready. `command` makes the command for
    /// an address; `is_ready` asks the server there.
    ///
    /// The port is free when it is chosen, but another process can bind it before the server does. The
    /// server then exits, and is started again on another port.
    pub async fn start<R: Future<Output = bool>>(
        mut command: impl FnMut(&str) -> tokio::process::Command,
        is_ready: impl Fn(String) -> R,
    ) -> Self {
        for _ in 0..START_ATTEMPTS {
            let address = free_address();
            let mut child = command(&address)
                .stdin(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .expect("the binary starts");
            let base = format!("http://{address}");
            let started = tokio::time::timeout(DEADLINE, async {
                loop {
                    // Asked first: a server that another process runs at this address is not ours.
                    if child.try_wait().expect("a child has a status").is_some() {
                        return false;
                    }
                    if is_ready(base.clone()).await {
                        return true;
                    }
                    tokio::time::sleep(crate::wait::POLL_INTERVAL).await;
                }
            });
            if started.await.expect("the server is ready or exits before the deadline") {
                return Self { child, address, base };
            }
        }
        panic!("the server exited {START_ATTEMPTS} times before it was ready");
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id().expect("the process has not been waited for")
    }

    /// Sends SIGTERM and waits for a successful exit.
    pub async fn stop(&mut self) {
        signal(self.id(), "-TERM");
        let ended = tokio::time::timeout(DEADLINE, self.child.wait()).await;
        let status =
            ended.expect("it exits before the deadline").expect("a child can be waited for");
        assert!(status.success(), "{status}");
    }
}

/// An address of this machine whose port nothing listens on. No two calls return the same one: two
/// tests of this process never compete for a port.
pub fn free_address() -> String {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        if GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(address.port()) {
            return address.to_string();
        }
    }
}

/// The path of a binary of the workspace. The first call of a run builds all of them.
pub fn binary(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
        let build = Command::new(cargo)
            .args(["build", "--quiet", "--workspace", "--bins"])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .status();
        assert!(build.expect("cargo runs").success(), "the binaries must build");
        let test = std::env::current_exe().expect("this program has a path");
        test.ancestors().nth(2).expect("target/<profile>/deps/<test>").to_owned()
    });
    folder.join(name)
}

/// Sends a signal, such as `-TERM`, to a process that a test started.
pub fn signal(process: u32, name: &str) {
    let sent = Command::new("kill").args([name, &process.to_string()]).status();
    assert!(sent.expect("kill runs").success(), "{name} reaches {process}");
}

/// Starts `local` on a free port; returns the address that it prints when it is ready.
pub async fn start_local(data: &Path) -> (Child, String) {
    start_local_with(&mut tokio::process::Command::new(binary("local")), data).await
}

/// Starts `local` with a prepared command, such as one with environment variables.
pub async fn start_local_with(local: &mut tokio::process::Command, data: &Path) -> (Child, String) {
    start_local_at(local, "127.0.0.1:0", data).await
}

/// Starts `local` on a given address, such as that of one that was stopped.
pub async fn start_local_at(
    local: &mut tokio::process::Command,
    listen: &str,
    data: &Path,
) -> (Child, String) {
    let mut child = local
        .args(["--listen", listen, "--data"])
        .arg(data)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("local starts");
    let stdout = child.stdout.take().expect("its output is piped");
    let mut lines = BufReader::new(stdout).lines();
    let line = tokio::time::timeout(DEADLINE, lines.next_line()).await;
    let line = line.expect("it is ready before the deadline").expect("a line").expect("a line");
    let base = line.strip_prefix("ready ").unwrap_or_else(|| panic!("not ready: {line}"));
    (child, base.to_owned())
}
