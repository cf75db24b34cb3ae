//! `local backup` while `local` is in use and while it is stopped, and `local restore` of both.

use std::{path::Path, time::Instant};

use serde_json::json;
use stories::{Api, Socket, User, binary, signal};
use tokio::process::Command;

use super::start;
use crate::operations::{
    processes::{assert_refused, local},
    traffic::{Sent, Traffic, download, history, sent},
};

fn command(name: &str, backup: &Path, data: &Path) -> Command {
    let mut command = Command::new(binary("local"));
    command.arg(name).arg(backup).arg("--data").arg(data);
    command
}

async fn run(name: &str, backup: &Path, data: &Path) {
    let output = command(name, backup, data).output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && text.is_empty(), "{text}");
}

/// Asserts that every message with a file has it. Returns how many have one.
async fn assert_files_exist(user: &User) -> usize {
    let mut files = 0;
    for message in history(user).await {
        if message["file"].is_object() {
            assert_eq!(json!(download(user, &message).await), message["msg"]);
            files += 1;
        }
    }
    files
}

/// A socket joins after the seq that it has seen last, and a message gets a seq above all that were ever given.
async fn assert_sockets_continue(api: &Api, user: &User, seen: &Sent) {
    let mut socket = Socket::connect(&api.base, &user.access).await;
    let join = user.join_data("lobby", Some(seen.seq)).await;
    let room = join["roomId"].clone();
    let joined = socket.ok("join-room", join).await;
    assert_eq!(joined["recovered"], false);
    let stored = socket.ok("send-msg", json!({ "roomId": room, "msg": "after" })).await;
    assert!(stored["seq"].as_u64().unwrap() > seen.seq, "{stored}");
    let event = socket.expect("receive-msg").await;
    assert_eq!((&event["seq"], &event["prev"]), (&stored["seq"], &joined["head"]));
    assert_eq!(history(user).await.last().unwrap()["seq"], stored["seq"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_has_everything_acknowledged_before_it() {
    let folders = tempfile::tempdir().unwrap();
    let [data, backup, restored] =
        ["data", "backup", "restored"].map(|name| folders.path().join(name));
    let (_local, api) = start(&data, &[]).await;
    let (ada, bob) = (api.user("ada").await, api.user("bob").await);
    ada.create_room("lobby").await;
    bob.enter("lobby").await;
    let traffic = Traffic::default();
    traffic.send_by_http(ada.clone());
    traffic.send_by_socket(bob.clone(), api.base.clone());
    traffic.send_files(bob, api.clone());
    traffic.makes_progress(300).await;
    let before = traffic.acknowledged();
    run("backup", &backup, &data).await;
    let during = traffic.acknowledged().len() - before.len();
    assert!(during > 0, "the load went on");
    traffic.makes_progress(100).await;
    traffic.stop().await;
    let all = traffic.acknowledged();
    assert_eq!(sent(&history(&ada).await), all, "the original has all messages");

    run("restore", &backup, &restored).await;
    let (_other, other) = start(&restored, &[]).await;
    ada.at(&other.base).get("/user").await.problem(401, "token-invalid");
    let ada = other.login("ada").await;
    let found = sent(&history(&ada).await);
    assert_eq!(found[..before.len()], before);
    assert_eq!(found, all[..found.len()], "nothing else, and nothing twice");
    assert!(assert_files_exist(&ada).await > 0);
    assert_sockets_continue(&other, &ada, all.last().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_local_is_backed_up_with_what_was_not_archived() {
    let folders = tempfile::tempdir().unwrap();
    let [data, backup, restored] =
        ["data", "backup", "restored"].map(|name| folders.path().join(name));
    let (mut local, api) = start(&data, &[]).await;
    let ada = api.user("ada").await;
    ada.create_room("lobby").await;
    let traffic = Traffic::default();
    traffic.send_by_http(ada.clone());
    traffic.send_by_http(ada.clone());
    traffic.send_files(ada, api);
    traffic.makes_progress(50).await;
    traffic.stop().await;
    // The archive gathers events for 200 ms, so the newest ones are in the stream only.
    local.kill().await.unwrap();
    let all = traffic.acknowledged();
    run("backup", &backup, &data).await;
    run("restore", &backup, &restored).await;
    let (_other, other) = start(&restored, &[]).await;
    let ada = other.login("ada").await;
    assert_eq!(sent(&history(&ada).await), all);
    assert!(assert_files_exist(&ada).await > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_backups_and_used_folders_are_refused() {
    let folders = tempfile::tempdir().unwrap();
    let [data, backup, restored] =
        ["data", "backup", "restored"].map(|name| folders.path().join(name));
    let (mut running, api) = start(&data, &[]).await;
    api.user("ada").await;
    run("backup", &backup, &data).await;
    assert_refused(&mut command("backup", &backup, &data), "is not empty").await;
    assert_refused(&mut command("restore", &backup, &data), "is not empty").await;
    assert_refused(&mut command("backup", &restored, folders.path()), "has no chat.db").await;
    assert_refused(&mut command("restore", &data, &restored), "is not a complete backup").await;
    signal(running.id().unwrap(), "-TERM");
    assert!(running.wait().await.unwrap().success());

    let database = backup.join("chat.db");
    let whole = std::fs::read(&database).unwrap();
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    std::fs::write(&database, damaged).unwrap();
    assert_refused(&mut command("restore", &backup, &restored), "its checksum does not match")
        .await;
    std::fs::remove_file(&database).unwrap();
    assert_refused(&mut command("restore", &backup, &restored), "chat.db is missing").await;
    std::fs::write(&database, whole).unwrap();
    // The failed restores have left the folder empty.
    let started = Instant::now();
    run("restore", &backup, &restored).await;
    println!("restored in {:?}", started.elapsed());
    std::fs::write(restored.join("restoring"), "").unwrap();
    assert_refused(&mut local("127.0.0.1:0", &restored), "was interrupted").await;
}
