//! Ids are UUIDs: upper and lower case are the same id, everywhere, and the answers have lower case.

use serde_json::{Value, json};
use stories::{Answer, System, stories};
use uuid::Uuid;

fn upper(id: &Value) -> String {
    id.as_str().unwrap().to_uppercase()
}

/// The same id with every second letter in upper case.
fn mixed(id: &str) -> String {
    let mixed = id.chars().enumerate().map(|(n, letter)| match n % 2 {
        0 => letter.to_ascii_uppercase(),
        _ => letter,
    });
    mixed.collect()
}

stories! {
    async fn a_message_id_in_another_case_is_the_same_message(system: System) {
        let gateway = system.start_gateway().await;
        let ada = system.user("ada").await;
        let room = ada.create_room("lobby").await;
        let (mut socket, _) = ada.join(&gateway, "lobby").await;
        let room = room.to_string().to_uppercase();
        // A fresh id, and one for which earlier messages are looked up.
        for id in [Uuid::now_v7(), Uuid::new_v4()] {
            let lower = id.to_string();
            let spellings = [lower.to_uppercase(), lower.clone(), mixed(&lower)];
            let mut first = None;
            for (nth, id) in spellings.iter().enumerate() {
                let event = json!({ "roomId": room, "id": id, "msg": "once" });
                let by_socket = socket.ok("send-msg", event).await;
                let seq = first.get_or_insert(by_socket["seq"].clone());
                assert_eq!((&by_socket["seq"], &by_socket["duplicate"]), (&*seq, &json!(nth > 0)));
                let body = json!({ "id": id, "msg": "once" });
                let by_http = ada.post("/room/lobby/message", body).await.ok();
                assert_eq!((&by_http["seq"], &by_http["duplicate"]), (&*seq, &json!(true)));
            }
            assert_eq!(socket.expect("receive-msg").await["id"], json!(lower));
            while system.archive_once().await > 0 {}
            let late = ada.post("/room/lobby/message", json!({ "id": mixed(&lower), "msg": "once" }));
            assert_eq!(late.await.ok()["duplicate"], true, "after it was archived");
            let page = ada.get("/room/lobby/message").await.ok();
            let items = page["items"].as_array().unwrap();
            assert_eq!(items.iter().filter(|item| item["id"] == json!(lower)).count(), 1);
        }
    }

    async fn ids_of_any_case_are_accepted_in_paths_bodies_and_events(system: System) {
        let gateway = system.start_gateway().await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        let mut socket = ada.connect(&gateway).await;
        let mut join = ada.join_data("lobby", None).await;
        for field in ["roomId", "userId"] {
            join[field] = json!(upper(&join[field]));
        }
        socket.ok("join-room", join).await;
        let (mut other, _) = bob.join(&gateway, "lobby").await;

        let declared = json!({ "name": "a.txt", "size": 2, "type": "text/plain" });
        let declared = ada.post("/room/lobby/file", declared).await.ok();
        assert!(system.upload(&declared, b"hi").await.is_success());
        let file = upper(&declared["file"]["id"]);
        let completed = ada.post(&format!("/file/{file}/complete"), json!({})).await.ok();
        assert_eq!(completed["file"]["id"], declared["file"]["id"]);
        let room = room.to_string().to_uppercase();
        let message = json!({ "roomId": room, "msg": "", "fileId": file });
        socket.ok("send-msg", message).await;
        let received = other.expect("receive-msg").await;
        assert_eq!(received["file"]["id"], declared["file"]["id"]);
        assert_eq!(received["roomId"], json!(room.to_lowercase()));
        assert_eq!(ada.get(&format!("/file/{file}")).await.status, 302);

        let bob_id = bob.id.to_string().to_uppercase();
        socket.ok("signal", json!({ "roomId": room, "to": bob_id, "data": 1 })).await;
        other.expect("signal").await;
        let member = format!("/room/lobby/member/{bob_id}");
        let promoted = ada.patch(&member, json!({ "role": "moderator" })).await.ok();
        assert_eq!(promoted["id"], json!(bob.id));
        let request = ada.request(reqwest::Method::DELETE, &member);
        assert_eq!(Answer::of(request).await.status, 204);
        let session = system.login("ada").await;
        let id = system.claims(&session).session.to_string().to_uppercase();
        assert_eq!(ada.delete(&format!("/user/session/{id}")).await.status, 204);
        socket.ok("leave-room", json!({ "roomId": room })).await;
    }
}
