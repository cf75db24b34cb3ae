//! A backup of PostgreSQL and of the object storage, made with PostgreSQL's own tools while the system is in use, and
//! restored after all three disks are lost. The steps are those of infra/README.md.

use std::{path::PathBuf, time::Instant};

use serde_json::json;
use store::{config::StorageConfig, storage::Storage};
use stories::{Api, Database, System, binary};
use tokio::process::Command;

use crate::operations::traffic::{Traffic, download, history, sent};

/// An object with its media type.
type Object = (String, String, Vec<u8>);

struct Backup {
    dump: PathBuf,
    objects: Vec<Object>,
}

async fn run(command: &mut Command) {
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn storage(system: &System) -> Storage {
    Storage::new(&system.config(StorageConfig::from_env)).unwrap()
}

async fn copy_objects(system: &System) -> Vec<Object> {
    let storage = storage(system);
    let (client, bucket) = storage.admin().await;
    let mut objects = Vec::new();
    let mut pages = client.list_objects_v2().bucket(bucket).into_paginator().send();
    while let Some(page) = pages.next().await {
        for object in page.unwrap().contents() {
            let key = object.key().unwrap();
            let found = client.get_object().bucket(bucket).key(key).send().await.unwrap();
            let media_type = found.content_type().unwrap().to_owned();
            let content = found.body.collect().await.unwrap().to_vec();
            objects.push((key.to_owned(), media_type, content));
        }
    }
    objects
}

async fn put_objects_back(system: &System, objects: Vec<Object>) {
    let storage = storage(system);
    let (client, bucket) = storage.admin().await;
    for (key, media_type, content) in objects {
        let put = client.put_object().bucket(bucket).key(key).content_type(media_type);
        put.body(content.into()).send().await.unwrap();
    }
}

/// Backs up while the system is in use: what is acknowledged reaches the database, then the database is dumped, then
/// the objects are copied.
async fn back_up(system: &System) -> Backup {
    let started = Instant::now();
    run(Command::new(binary("archive")).arg("--catch-up").envs(system.variables())).await;
    let dump = system.folder().join("chat.dump");
    let database = &system.variables()["DATABASE_URL"];
    run(Command::new("pg_dump").args(["--format=custom", "--file"]).arg(&dump).arg(database)).await;
    let objects = copy_objects(system).await;
    println!("backed up in {:?}", started.elapsed());
    Backup { dump, objects }
}

/// Restores onto new disks and a new database.
async fn restore(system: &mut System, backup: Backup) {
    let started = Instant::now();
    let target = format!("--dbname={}", system.use_new_database().await);
    run(Command::new("pg_restore").args(["--exit-on-error", &target]).arg(&backup.dump)).await;
    system.provision().await;
    put_objects_back(system, backup.objects).await;
    println!("restored in {:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_restores_all_three() {
    let mut system = System::new(Database::Postgres).await;
    for limit in ["LIMIT_EVENT_RATE", "LIMIT_USER_EVENT_RATE", "LIMIT_ROOM_EVENT_RATE"] {
        system.set_variable(limit, "0");
    }
    system.start_archive();
    let gateway = system.start_gateway().await;
    let api = Api::new(&system.start_functions().await);
    let (ada, bob) = (api.user("ada").await, api.user("bob").await);
    ada.create_room("lobby").await;
    bob.enter("lobby").await;
    let traffic = Traffic::default();
    traffic.send_by_http(ada.clone());
    traffic.send_by_socket(bob.clone(), gateway.base.clone());
    traffic.send_files(bob, api.clone());
    traffic.makes_progress(200).await;
    let before = traffic.acknowledged();
    let backup = back_up(&system).await;
    traffic.makes_progress(100).await;
    traffic.stop().await;
    let all = traffic.acknowledged();

    system.stop_archive().await;
    system.stop_functions();
    drop(gateway);
    system.lose_nats(false);
    system.lose_files();
    restore(&mut system, backup).await;
    let api = Api::new(&system.start_functions().await);
    system.set_variable("JWKS_URL", &format!("{}/.well-known/jwks.json", api.base));
    system.start_archive();
    let gateway = system.start_gateway().await;

    let ada = api.login("ada").await;
    let messages = history(&ada).await;
    let found = sent(&messages);
    assert_eq!(found[..before.len()], before);
    assert_eq!(found, all[..found.len()], "nothing else, and nothing twice");
    let with_file = messages.iter().filter(|message| message["file"].is_object());
    assert!(with_file.clone().count() > 0);
    for message in with_file {
        assert_eq!(json!(download(&ada, message).await), message["msg"]);
    }
    let seen = all.last().unwrap().seq;
    let mut socket = ada.connect(&gateway).await;
    let join = ada.join_data("lobby", Some(seen)).await;
    let room = join["roomId"].clone();
    assert_eq!(socket.ok("join-room", join).await["recovered"], false);
    let next = socket.ok("send-msg", json!({ "roomId": room, "msg": "next" })).await;
    assert!(next["seq"].as_u64().unwrap() > seen, "above what clients may have seen");
}
