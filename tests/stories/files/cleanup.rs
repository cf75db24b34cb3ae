//! Files are removed with the message that shows them, or when their upload is never completed, but never
//! because of a late request.

use reqwest::Method;
use serde_json::{Value, json};
use stories::{Answer, Database, System, User, eventually, stories};

async fn declare(user: &User, size: usize, media_type: &str) -> Value {
    let file = json!({ "name": "a.txt", "size": size, "type": media_type });
    user.post("/room/lobby/file", file).await.ok()
}

fn path(declared: &Value) -> String {
    format!("/file/{}", declared["file"]["id"].as_str().unwrap())
}

async fn complete(user: &User, declared: &Value) -> Answer {
    user.post(&format!("{}/complete", path(declared)), json!({})).await
}

async fn upload(system: &System, user: &User) -> Value {
    let declared = declare(user, 3, "text/plain").await;
    assert!(system.upload(&declared, b"abc").await.is_success());
    complete(user, &declared).await.ok();
    declared
}

/// A presigned link to the object, valid for minutes.
async fn link(user: &User, declared: &Value) -> String {
    let link = user.request(Method::GET, &path(declared)).header("accept", "application/json");
    Answer::of(link).await.ok()["url"].as_str().unwrap().to_owned()
}

async fn send(user: &User, declared: &Value) -> u64 {
    let message =
        json!({ "id": uuid::Uuid::now_v7(), "msg": "", "fileId": declared["file"]["id"] });
    user.post("/room/lobby/message", message).await.ok()["seq"].as_u64().unwrap()
}

stories! {
    async fn the_file_of_a_deleted_message_is_removed_at_once(system: System) {
        let gateway = system.start_gateway().await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        let (mut socket, _) = ada.join(&gateway, "lobby").await;
        let (mut of_bob, _) = bob.join(&gateway, "lobby").await;
        let delete = |seq: u64| json!({ "roomId": room, "seq": seq });

        // Deleted before and after the message is archived, by its author and by a moderator.
        for is_archived in [false, true] {
            for by_moderator in [false, true] {
                let author = if by_moderator { &bob } else { &ada };
                let declared = upload(&system, author).await;
                let seq = send(author, &declared).await;
                if is_archived {
                    while system.archive_once().await > 0 {}
                }
                let object = link(&bob, &declared).await;
                socket.ok("delete-msg", delete(seq)).await;
                bob.get(&path(&declared)).await.problem(404, "no-such-file");
                ada.get(&path(&declared)).await.problem(404, "no-such-file");
                // The file cannot be sent again.
                while system.archive_once().await > 0 {}
                bob.get(&path(&declared)).await.problem(404, "no-such-file");
                let again = json!({ "id": uuid::Uuid::now_v7(), "msg": "", "fileId": declared["file"]["id"] });
                ada.post("/room/lobby/message", again).await.problem(404, "no-such-file");
                eventually("the object to go", || async {
                    system.archive_once().await;
                    (system.http.get(&object).send().await.unwrap().status() == 404).then_some(())
                })
                .await;
                eventually("all that is owed to be published", || async {
                    system.archive_once().await;
                    (system.count("SELECT COUNT(*) FROM outbox").await == 0).then_some(())
                })
                .await;
                let again = json!({ "roomId": room, "msg": "", "fileId": declared["file"]["id"] });
                of_bob.refused("send-msg", again, "no-such-file").await;
            }
        }
    }

    async fn a_file_of_another_message_stays(system: System) {
        let gateway = system.start_gateway().await;
        let ada = system.user("ada").await;
        let room = ada.create_room("lobby").await;
        let (mut socket, _) = ada.join(&gateway, "lobby").await;
        let declared = upload(&system, &ada).await;
        let (one, other) = (send(&ada, &declared).await, send(&ada, &declared).await);
        socket.ok("delete-msg", json!({ "roomId": room, "seq": one })).await;
        assert_eq!(ada.get(&path(&declared)).await.status, 302);
        while system.archive_once().await > 0 {}
        assert_eq!(ada.get(&path(&declared)).await.status, 302);
        socket.ok("delete-msg", json!({ "roomId": room, "seq": other })).await;
        ada.get(&path(&declared)).await.problem(404, "no-such-file");
        while system.archive_once().await > 0 {}
        assert_eq!(system.count("SELECT COUNT(*) FROM file").await, 0);
    }

    async fn an_incomplete_upload_is_removed(system: System) {
        let ada = system.user("ada").await;
        ada.create_room("lobby").await;
        let old = declare(&ada, 3, "text/plain").await;
        assert!(system.upload(&old, b"abc").await.is_success());
        let finished = upload(&system, &ada).await;
        let ago = if system.is_postgres() {
            "now() - interval '25 hours'"
        } else {
            "strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now', '-25 hours')"
        };
        system.execute(&format!("UPDATE file SET created_at = {ago}")).await;
        let young = declare(&ada, 3, "text/plain").await;
        system.archive_once().await;
        complete(&ada, &old).await.problem(404, "no-such-file");
        complete(&ada, &young).await.problem(409, "not-uploaded");
        assert_eq!(ada.get(&path(&finished)).await.status, 302);
        assert_eq!(system.count("SELECT COUNT(*) FROM file").await, 2);
        assert_eq!(system.count("SELECT COUNT(*) FROM doomed_object").await, 1);
        // The upload link refuses a second object only while the first exists; here it is removed.
        assert!(system.upload(&old, b"abc").await.is_success());
    }

    async fn a_complete_file_cannot_be_replaced(system: System) {
        let ada = system.user("ada").await;
        ada.create_room("lobby").await;
        let declared = upload(&system, &ada).await;
        assert_eq!(system.upload(&declared, b"xyz").await, 412);
        complete(&ada, &declared).await.ok();
        let content = system.http.get(link(&ada, &declared).await).send().await.unwrap();
        assert_eq!(content.bytes().await.unwrap(), &b"abc"[..]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_completion_removes_no_good_object() {
    let system = System::new(Database::Postgres).await;
    let ada = system.user("ada").await;
    ada.create_room("lobby").await;
    let declared = declare(&ada, 4, "image/gif").await;
    assert!(system.upload(&declared, b"text").await.is_success());
    let store::db::Database::Postgres(pool) = system.connect_database().await else {
        unreachable!("it is PostgreSQL")
    };
    // The late request has read the bad object and waits. Meanwhile another request has removed it, and a good
    // one was uploaded and completed.
    let mut held = pool.begin().await.unwrap();
    sqlx::query("SELECT 1 FROM file FOR UPDATE").execute(&mut *held).await.unwrap();
    let meanwhile = async {
        eventually("the late one to wait", || async {
            let waiting = "SELECT COUNT(*) FROM pg_stat_activity
                           WHERE datname = current_database() AND wait_event_type = 'Lock'";
            (system.count(waiting).await == 1).then_some(())
        })
        .await;
        remove_objects(&system);
        assert!(system.upload(&declared, b"GIF8").await.is_success());
        let complete = "UPDATE file SET completed_at = now()";
        sqlx::query(complete).execute(&mut *held).await.unwrap();
        held.commit().await.unwrap();
    };
    let (late, ()) = tokio::join!(complete(&ada, &declared), meanwhile);
    late.ok();
    let content = system.http.get(link(&ada, &declared).await).send().await.unwrap();
    assert_eq!(content.bytes().await.unwrap(), &b"GIF8"[..]);
}

/// Does what the first request did. The storage is a folder.
fn remove_objects(system: &System) {
    let bucket = system.folder().join("s3").join("files");
    for entry in std::fs::read_dir(bucket).unwrap() {
        std::fs::remove_dir_all(entry.unwrap().path()).unwrap();
    }
}
