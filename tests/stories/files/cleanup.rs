//! How files end: with the message that shows them, when they were never completed, and never because a
//! request comes late.

use reqwest::Method;
use serde_json::{Value, json};
use stories::{Answer, Database, User, World, eventually, stories};

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

async fn upload(world: &World, user: &User) -> Value {
    let declared = declare(user, 3, "text/plain").await;
    assert!(world.put(&declared, b"abc").await.is_success());
    complete(user, &declared).await.ok();
    declared
}

/// A link to the object, which lives for minutes.
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
    async fn the_file_of_a_deleted_message_is_gone_at_once(world: World) {
        let gateway = world.gateway().await;
        let (ada, bob) = (world.user("ada").await, world.user("bob").await);
        let room = ada.create_room("lobby").await;
        let (mut socket, _) = ada.join(&gateway, "lobby").await;
        let (mut of_bob, _) = bob.join(&gateway, "lobby").await;
        let delete = |seq: u64| json!({ "roomId": room, "seq": seq });

        // Before the message is archived, and after; by its author, and by a moderator.
        for is_archived in [false, true] {
            for by_moderator in [false, true] {
                let author = if by_moderator { &bob } else { &ada };
                let declared = upload(&world, author).await;
                let seq = send(author, &declared).await;
                if is_archived {
                    while world.archive_once().await > 0 {}
                }
                let object = link(&bob, &declared).await;
                socket.ok("delete-msg", delete(seq)).await;
                bob.get(&path(&declared)).await.problem(404, "no-such-file");
                ada.get(&path(&declared)).await.problem(404, "no-such-file");
                // Nor can it be sent again.
                while world.archive_once().await > 0 {}
                bob.get(&path(&declared)).await.problem(404, "no-such-file");
                let again = json!({ "id": uuid::Uuid::now_v7(), "msg": "", "fileId": declared["file"]["id"] });
                ada.post("/room/lobby/message", again).await.problem(404, "no-such-file");
                eventually("the object to go", || async {
                    world.archive_once().await;
                    (world.http.get(&object).send().await.unwrap().status() == 404).then_some(())
                }).await;
                eventually("all that is owed to be published", || async {
                    world.archive_once().await;
                    (world.count("SELECT COUNT(*) FROM outbox").await == 0).then_some(())
                })
                .await;
                let again = json!({ "roomId": room, "msg": "", "fileId": declared["file"]["id"] });
                of_bob.refused("send-msg", again, "no-such-file").await;
            }
        }
    }

    async fn a_file_that_another_message_shows_stays(world: World) {
        let gateway = world.gateway().await;
        let ada = world.user("ada").await;
        let room = ada.create_room("lobby").await;
        let (mut socket, _) = ada.join(&gateway, "lobby").await;
        let declared = upload(&world, &ada).await;
        let (one, other) = (send(&ada, &declared).await, send(&ada, &declared).await);
        socket.ok("delete-msg", json!({ "roomId": room, "seq": one })).await;
        assert_eq!(ada.get(&path(&declared)).await.status, 302);
        while world.archive_once().await > 0 {}
        assert_eq!(ada.get(&path(&declared)).await.status, 302);
        socket.ok("delete-msg", json!({ "roomId": room, "seq": other })).await;
        ada.get(&path(&declared)).await.problem(404, "no-such-file");
        while world.archive_once().await > 0 {}
        assert_eq!(world.count("SELECT COUNT(*) FROM file").await, 0);
    }

    async fn an_upload_that_is_never_completed_leaves_nothing(world: World) {
        let ada = world.user("ada").await;
        ada.create_room("lobby").await;
        let old = declare(&ada, 3, "text/plain").await;
        assert!(world.put(&old, b"abc").await.is_success());
        let finished = upload(&world, &ada).await;
        let ago = if world.is_postgres() { "now() - interval '25 hours'" } else { "strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now', '-25 hours')" };
        world.sql(&format!("UPDATE file SET created_at = {ago}")).await;
        let young = declare(&ada, 3, "text/plain").await;
        world.archive_once().await;
        complete(&ada, &old).await.problem(404, "no-such-file");
        complete(&ada, &young).await.problem(409, "not-uploaded");
        assert_eq!(ada.get(&path(&finished)).await.status, 302);
        assert_eq!(world.count("SELECT COUNT(*) FROM file").await, 2);
        assert_eq!(world.count("SELECT COUNT(*) FROM doomed_object").await, 1);
        // While an object is there, its link takes no other; the object is gone.
        assert!(world.put(&old, b"abc").await.is_success());
    }

    async fn what_is_complete_cannot_be_replaced(world: World) {
        let ada = world.user("ada").await;
        ada.create_room("lobby").await;
        let declared = upload(&world, &ada).await;
        assert_eq!(world.put(&declared, b"xyz").await, 412);
        complete(&ada, &declared).await.ok();
        let content = world.http.get(link(&ada, &declared).await).send().await.unwrap();
        assert_eq!(content.bytes().await.unwrap(), &b"abc"[..]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_completion_removes_no_good_object() {
    let world = World::new(Database::Postgres).await;
    let ada = world.user("ada").await;
    ada.create_room("lobby").await;
    let declared = declare(&ada, 4, "image/gif").await;
    assert!(world.put(&declared, b"text").await.is_success());
    let store::db::Database::Postgres(pool) = world.database().await else {
        unreachable!("it is PostgreSQL")
    };
    // The late one has read the bad object and waits. Meanwhile another request has removed it, and a
    // good one was uploaded and completed.
    let mut held = pool.begin().await.unwrap();
    sqlx::query("SELECT 1 FROM file FOR UPDATE").execute(&mut *held).await.unwrap();
    let meanwhile = async {
        eventually("the late one to wait", || async {
            let waiting = "SELECT COUNT(*) FROM pg_stat_activity
                           WHERE datname = current_database() AND wait_event_type = 'Lock'";
            (world.count(waiting).await == 1).then_some(())
        })
        .await;
        remove_objects(&world);
        assert!(world.put(&declared, b"GIF8").await.is_success());
        let complete = "UPDATE file SET completed_at = now()";
        sqlx::query(complete).execute(&mut *held).await.unwrap();
        held.commit().await.unwrap();
    };
    let (late, ()) = tokio::join!(complete(&ada, &declared), meanwhile);
    late.ok();
    let content = world.http.get(link(&ada, &declared).await).send().await.unwrap();
    assert_eq!(content.bytes().await.unwrap(), &b"GIF8"[..]);
}

/// What a request that was first did: the storage is a folder.
fn remove_objects(world: &World) {
    let bucket = world.folder().join("s3").join("files");
    for entry in std::fs::read_dir(bucket).unwrap() {
        std::fs::remove_dir_all(entry.unwrap().path()).unwrap();
    }
}
