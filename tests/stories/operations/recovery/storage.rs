//! The disk of the object storage is lost, alone or together with that of NATS.

use serde_json::{Value, json};
use stories::{Answer, System, User, stories};

use super::{archive_all, send_all, send_when_accepted, texts};

async fn download(system: &System, user: &User, path: &str) -> u16 {
    let link = user.request(reqwest::Method::GET, path).header("accept", "application/json");
    let link: Value = Answer::of(link).await.ok();
    let link = link["url"].as_str().unwrap();
    system.http.get(link).send().await.unwrap().status().as_u16()
}

stories! {
    async fn a_lost_storage_disk_loses_files_only(system: System) {
        let ada = system.user("ada").await;
        ada.create_room("lobby").await;
        let upload = |name: &'static str| {
            let (system, ada) = (&system, &ada);
            async move {
                let file = json!({ "name": name, "size": 3, "type": "text/plain" });
                let declared = ada.post("/room/lobby/file", file).await.ok();
                assert!(system.upload(&declared, b"abc").await.is_success());
                let path = format!("/file/{}", declared["file"]["id"].as_str().unwrap());
                ada.post(&format!("{path}/complete"), json!({})).await.ok();
                let message = json!({ "id": uuid::Uuid::now_v7(), "msg": name, "fileId": declared["file"]["id"] });
                ada.post("/room/lobby/message", message).await.ok();
                path
            }
        };
        let before = upload("before.txt").await;
        archive_all(&system).await;
        system.lose_files();
        system.provision().await;
        assert_eq!(download(&system, &ada, &before).await, 404, "1 of 1 file is lost");
        let page = ada.get("/room/lobby/message").await.ok();
        assert_eq!(page["items"][0]["file"]["name"], "before.txt");
        let after = upload("after.txt").await;
        assert_eq!(download(&system, &ada, &after).await, 200);
        archive_all(&system).await;
        assert_eq!(texts(&ada, 0).await, ["before.txt", "after.txt"]);
    }

    async fn the_system_restarts_from_a_database_backup_alone(system: System) {
        let mut system = system;
        let ada = system.user("ada").await;
        let room = ada.create_room("lobby").await;
        let kept = send_all(&ada, &["1", "2", "3"]).await;
        archive_all(&system).await;
        system.back_up_database().await;
        send_all(&ada, &["lost 4", "lost 5"]).await;
        archive_all(&system).await;
        let lost = ada.post_message("lobby", "lost 6").await;
        system.lose_nats(false);
        system.lose_files();
        system.restore_database().await;
        system.provision().await;
        let first = send_when_accepted(&ada, "7").await;
        assert!(first > lost, "above what clients may have seen");
        assert_eq!(
            texts(&ada, 0).await,
            ["1", "2", "3", "7"],
            "3 of 7 are lost: those after the backup"
        );
        archive_all(&system).await;
        assert_eq!(texts(&ada, 0).await, ["1", "2", "3", "7"]);
        let gateway = system.start_gateway().await;
        let mut socket = ada.connect(&gateway).await;
        let joined = socket.ok("join-room", ada.join_data("lobby", Some(kept[2])).await).await;
        assert_eq!((&joined["recovered"], &joined["head"]), (&json!(false), &json!(first)));
        assert_eq!(system.count_stored_events(room).await, 1);
    }
}
