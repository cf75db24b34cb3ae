//! Servers of the previous release and of this one run beside each other, on one schema, one NATS and one storage:
//! while a release is rolled out, and when it is rolled back.
//!
//! The variable `PREVIOUS_RELEASE` names a folder with the binaries of the previous release (`make upgrade-test`).
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot continue fails")]

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use reqwest::StatusCode;
use serde_json::json;
use stories::{
    Api, Database, Server, Socket, System, User, binary, eventually, signal, start_local_with,
};
use tokio::process::{Child, Command};

/// The folder with the binaries of the previous release.
fn previous_release() -> PathBuf {
    let folder = std::env::var_os("PREVIOUS_RELEASE");
    folder.expect("PREVIOUS_RELEASE names a folder with the previous release's binaries").into()
}

/// The folder with the binaries of this checkout.
fn this_release() -> PathBuf {
    binary("functions").parent().expect("binaries are in a folder").to_owned()
}

/// A program with the system's variables. Its output goes to a file in the system's folder.
fn command(system: &System, release: &Path, name: &str) -> Command {
    let log = system.folder().join(format!("{name}.log"));
    let log = std::fs::OpenOptions::new().append(true).create(true).open(log).unwrap();
    let mut command = Command::new(release.join(name));
    command.envs(system.variables()).stdin(Stdio::null()).kill_on_drop(true);
    command.stdout(log.try_clone().unwrap()).stderr(log);
    command
}

async fn provision(system: &System, release: &Path) {
    let status = command(system, release, "provision").status().await.unwrap();
    assert!(status.success(), "provision of {}", release.display());
}

/// The servers of one release.
struct Servers {
    functions: Server,
    gateway: Server,
    archive: Child,
}

impl Servers {
    async fn start(system: &mut System, release: &Path) -> Self {
        let functions = Self::start_server(system, release, "functions").await;
        let keys = format!("{}/.well-known/jwks.json", functions.base);
        system.set_variable("JWKS_URL", &keys);
        let gateway = Self::start_server(system, release, "gateway").await;
        let archive = command(system, release, "archive").arg("--follow").spawn().unwrap();
        Self { functions, gateway, archive }
    }

    async fn start_server(system: &System, release: &Path, name: &str) -> Server {
        let command = |address: &str| {
            let mut command = command(system, release, name);
            command.args(["--listen", address]);
            command
        };
        Server::start(command, |base| async move { system.is_ready(&base).await }).await
    }

    fn api(&self) -> Api {
        Api::new(&self.functions.base)
    }

    async fn stop(mut self) {
        self.functions.stop().await;
        self.gateway.stop().await;
        signal(self.archive.id().unwrap(), "-TERM");
        assert!(self.archive.wait().await.unwrap().success());
    }
}

/// Joins a room that was entered at the user's functions.
async fn join(user: &User, gateway: &Server, room: &str) -> Socket {
    let mut socket = Socket::connect(&gateway.base, &user.access).await;
    socket.ok("join-room", user.join_data(room, None).await).await;
    socket
}

/// What two users do together, one of them at each of two servers: every token, row, event and revocation that one
/// release writes is read by the other.
async fn chat(one: &Servers, other: &Servers, room: &str) {
    let ada = one.api().user(&format!("ada-{room}")).await;
    let bob = other.api().user(&format!("bob-{room}")).await;
    let id = ada.create_room(room).await;
    let mut at_one = join(&ada, &one.gateway, room).await;
    let mut at_other = join(&bob, &other.gateway, room).await;
    let sent = at_one.ok("send-msg", json!({ "roomId": id, "msg": "hello" })).await;
    assert_eq!(at_other.expect("receive-msg").await["seq"], sent["seq"]);
    bob.post_message(room, "over HTTP").await;
    at_one.expect_where("receive-msg", |event| event["msg"] == "over HTTP").await;
    let change = json!({ "roomId": id, "seq": sent["seq"], "msg": "hello!" });
    at_one.ok("edit-msg", change).await;
    at_other.expect("msg-edited").await;
    let reaction = json!({ "roomId": id, "seq": sent["seq"], "emoji": "👍", "on": true });
    at_other.ok("react", reaction).await;
    at_one.expect("reaction").await;

    // Access tokens of the one are accepted by the other, and refresh tokens are spent there.
    ada.at(&other.functions.base).get("/user").await.ok();
    other.api().post("/login/refresh", json!({ "refreshToken": ada.refresh })).await.ok();
    let declared = ada
        .post(
            &format!("/room/{room}/file"),
            json!({ "name": "a", "size": 1, "type": "text/plain" }),
        )
        .await
        .ok();
    assert!(one.api().upload(&declared, b"a").await.is_success());
    let file = format!("/file/{}", declared["file"]["id"].as_str().unwrap());
    bob.at(&other.functions.base).get(&file).await.problem(404, "no-such-file");
    ada.at(&other.functions.base).post(&format!("{file}/complete"), json!({})).await.ok();
    assert_eq!(bob.get(&file).await.status, StatusCode::FOUND);
    assert_same_history(&ada, one, other, room).await;

    // A session that ends at the one loses its socket at the other's gateway, and so does a banned member.
    let session = other.api().login(&ada.name).await;
    let mut ends = Socket::connect(&other.gateway.base, &session.access).await;
    session.at(&one.functions.base).post("/logout", json!({})).await.ok();
    ends.expect("session-expired").await;
    let ban = format!("/room/{room}/member/{}?ban=true", bob.id);
    assert!(ada.at(&one.functions.base).delete(&ban).await.status.is_success());
    at_other.expect("member-removed").await;
    eventually("the banned member to be refused", || async {
        (bob.get(&format!("/room/{room}")).await.status == StatusCode::FORBIDDEN).then_some(())
    })
    .await;
    let late = at_other.call("send-msg", json!({ "roomId": id, "msg": "too late" })).await;
    assert_eq!(late["ok"], false, "{late}");
}

/// Both answer the same pages, whether their events are archived or not.
async fn assert_same_history(user: &User, one: &Servers, other: &Servers, room: &str) {
    let path = format!("/room/{room}/message");
    let mut pages = Vec::new();
    for servers in [one, other] {
        pages.push(user.at(&servers.functions.base).get(&path).await.ok()["items"].clone());
    }
    assert!(pages[0].as_array().unwrap().len() >= 2);
    assert_eq!(pages[0], pages[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_is_rolled_out_and_back_while_both_run() {
    let (previous, this) = (previous_release(), this_release());
    let mut system = System::without_servers(Database::Postgres).await;
    provision(&system, &previous).await;
    let old = Servers::start(&mut system, &previous).await;
    chat(&old, &old, "before").await;

    // The new schema, and the old servers.
    provision(&system, &this).await;
    chat(&old, &old, "expanded").await;
    // Both servers.
    let new = Servers::start(&mut system, &this).await;
    chat(&old, &new, "rolled-out").await;
    chat(&new, &old, "rolled-out-2").await;
    // Rolled back: the old servers read what the new ones wrote.
    new.stop().await;
    let ada = old.api().login("ada-rolled-out-2").await;
    assert_same_history(&ada, &old, &old, "rolled-out-2").await;
    chat(&old, &old, "rolled-back").await;
    // Restarted on the new schema, and rolled out again.
    old.stop().await;
    let old = Servers::start(&mut system, &previous).await;
    let new = Servers::start(&mut system, &this).await;
    old.stop().await;
    chat(&new, &new, "after").await;
    for room in ["before", "expanded", "rolled-out", "rolled-out-2", "rolled-back", "after"] {
        let ada = new.api().login(&format!("ada-{room}")).await;
        assert_same_history(&ada, &new, &new, room).await;
    }
    new.stop().await;
    while system.archive_once().await > 0 {}
    assert_eq!(system.count_messages().await, 6 * 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_keeps_its_data_when_it_is_updated() {
    let data = tempfile::tempdir().unwrap();
    let mut previous = None;
    for release in [previous_release(), this_release()] {
        let mut command = Command::new(release.join("local"));
        let (mut local, base) = start_local_with(&mut command, data.path()).await;
        let api = Api::new(&base);
        let ada = match previous {
            None => api.user("ada").await,
            Some(_) => api.login("ada").await,
        };
        if previous.is_none() {
            ada.create_room("lobby").await;
            ada.post_message("lobby", "before the update").await;
        }
        let page = ada.get("/room/lobby/message").await.ok()["items"].clone();
        assert_eq!(page[0]["msg"], "before the update", "{page}");
        previous = Some(page);
        signal(local.id().unwrap(), "-INT");
        assert!(local.wait().await.unwrap().success());
    }
}
