//! The functions that are invoked by a schedule and by the storage.

use serde_json::{Value, json};
use stories::{Database, RuntimeApi, System};

use super::start;

const TEXT: &[u8] = b"hello\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_invocation_archives_everything() {
    let system = System::new(Database::Postgres).await;
    let ada = system.user("ada").await;
    let room = ada.create_room("lobby").await;
    // More than one batch.
    system.append_messages(room, ada.id, 4_500).await;
    let mut api = RuntimeApi::start().await;
    let archive = start(&system, &api, "archive");
    assert_eq!(api.invoke(json!({})).await, json!({ "moved": 4_501 }));
    assert_eq!(api.invoke(json!({})).await, json!({ "moved": 0 }));
    assert_eq!(system.count_messages().await, 4_500);
    drop(archive);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_invocation_reports_what_was_archived() {
    let system = System::new(Database::Postgres).await;
    let ada = system.user("ada").await;
    let room = ada.create_room("lobby").await;
    system.append_messages(room, ada.id, 10).await;
    system.execute("ALTER TABLE doomed_object RENAME TO missing").await;
    let mut api = RuntimeApi::start().await;
    let archive = start(&system, &api, "archive");
    let failed = api.invoke(json!({})).await;
    let message = failed["errorMessage"].as_str().unwrap();
    assert!(message.starts_with("11 events were archived, but: "), "{message}");
    assert!(message.contains("doomed_object"), "{message}");
    assert_eq!(system.count_messages().await, 10);
    drop(archive);
}

/// The event of S3 for objects that were created.
fn created(keys: &[&str]) -> Value {
    let record = |key: &&str| {
        json!({
            "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "us-east-1",
            "eventTime": "2026-11-30T00:00:00.000Z", "eventName": "ObjectCreated:Put",
            "userIdentity": { "principalId": "p" },
            "requestParameters": { "sourceIPAddress": "192.0.2.1" },
            "responseElements": {},
            "s3": {
                "s3SchemaVersion": "1.0", "configurationId": "c",
                "bucket": { "name": "chat", "ownerIdentity": { "principalId": "p" }, "arn": "a" },
                "object": { "key": key, "size": 6, "eTag": "e", "sequencer": "s" },
            },
        })
    };
    json!({ "Records": keys.iter().map(record).collect::<Vec<_>>() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_whose_client_vanished_is_completed() {
    let system = System::new(Database::Postgres).await;
    let gateway = system.start_gateway().await;
    let ada = system.user("ada").await;
    let room = ada.create_room("lobby").await;
    let declare = async |media_type: &str| {
        let file = json!({ "name": "a", "size": TEXT.len(), "type": media_type });
        let declared = ada.post("/room/lobby/file", file).await.ok();
        assert!(system.upload(&declared, TEXT).await.is_success());
        declared["file"]["id"].as_str().unwrap().to_owned()
    };
    let (good, no_image) = (declare("text/plain").await, declare("image/png").await);
    let key = |file: &str| format!("{room}/{file}");
    let (unknown, foreign) =
        (key(&uuid::Uuid::now_v7().to_string()), "backup/today.tar".to_owned());
    let mut api = RuntimeApi::start().await;
    let uploads = start(&system, &api, "uploads");
    let keys = [key(&good), key(&no_image), unknown, foreign];
    let event = created(&keys.each_ref().map(String::as_str));
    let counts = api.invoke(event.clone()).await;
    assert_eq!(counts, json!({ "completed": 1, "refused": 1, "ignored": 2 }));
    // S3 may deliver an event twice.
    let counts = api.invoke(event).await;
    assert_eq!(counts, json!({ "completed": 0, "refused": 0, "ignored": 4 }));
    assert_eq!(ada.get(&format!("/file/{good}")).await.status, 302);
    let (mut socket, _) = ada.join(&gateway, "lobby").await;
    socket.ok("send-msg", json!({ "roomId": room, "msg": "", "fileId": good })).await;
    let complete = ada.post(&format!("/file/{no_image}/complete"), json!({})).await;
    complete.problem(409, "not-uploaded");
    drop(uploads);
}
