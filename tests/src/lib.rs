//! The harness of the stories: a world of real services for each test, on free ports, in folders of
//! its own, gone when the test ends.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod http;
mod lambda;
mod link;
mod plans;
mod postgres;
mod socket;
pub mod wire;
mod world;

pub use http::{Answer, PASSWORD, User};
pub use lambda::RuntimeApi;
pub use link::Link;
pub use plans::{Fault, Plans};
pub use socket::{Closed, Socket};
pub use wire::{Polling, Wire};
pub use world::{Database, Gateway, World};

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Child,
};

/// How long a story waits for anything that should be at once.
pub const SOON: Duration = Duration::from_secs(20);

/// Asks until the answer is there, or fails saying what was waited for.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    let asked = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, asked).await.unwrap_or_else(|_| panic!("waited for {what}"))
}

/// A binary of the workspace, built with it. Once per run, cargo is asked whether it is fresh.
pub fn binary(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let folder = BUILT.get_or_init(|| {
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

/// Sends a signal to a process that a story started.
pub fn signal(process: u32, name: &str) {
    let sent = Command::new("kill").args([name, &process.to_string()]).status();
    assert!(sent.expect("kill runs").success(), "{name} reaches {process}");
}

/// `local` on a free port, and the address that it says it is ready at.
pub async fn running_local(data: &Path) -> (Child, String) {
    ready_local(&mut tokio::process::Command::new(binary("local")), data).await
}

/// The same for a command that starts `local`, such as one with variables.
pub async fn ready_local(local: &mut tokio::process::Command, data: &Path) -> (Child, String) {
    listening_local(local, "127.0.0.1:0", data).await
}

/// The same on an address, such as that of one that was stopped.
pub async fn listening_local(
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
    let line = tokio::time::timeout(SOON, lines.next_line()).await.expect("it is ready soon");
    let line = line.expect("a line").expect("a line");
    let base = line.strip_prefix("ready ").unwrap_or_else(|| panic!("not ready: {line}"));
    (child, base.to_owned())
}

/// Makes every story two tests: one on each database.
#[macro_export]
macro_rules! stories {
    ($($(#[$doc:meta])* async fn $name:ident($world:ident: World) $body:block)*) => {
        $(
            mod $name {
                use super::*;

                async fn story($world: World) $body

                $(#[$doc])*
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn on_sqlite() {
                    story(World::new($crate::Database::Sqlite).await).await;
                }

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn on_postgres() {
                    story(World::new($crate::Database::Postgres).await).await;
                }
            }
        )*
    };
}
