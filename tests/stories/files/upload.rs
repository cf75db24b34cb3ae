//! Uploads and downloads go directly to the object storage.

use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use stories::{Answer, System, User, stories};

const TEXT: &[u8] = "내용\n".as_bytes();

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn declare(user: &User, name: &str, media_type: &str, bytes: &[u8]) -> Value {
    let body =
        json!({ "name": name, "size": bytes.len(), "type": media_type, "sha256": sha256(bytes) });
    user.post("/room/lobby/file", body).await.ok()
}

async fn complete(user: &User, declared: &Value) -> Answer {
    user.post(&format!("/file/{}/complete", declared["file"]["id"].as_str().unwrap()), json!({}))
        .await
}

stories! {
    async fn a_file_is_uploaded_and_downloaded(system: System) {
        let gateway = system.start_gateway().await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        let (mut a, _) = ada.join(&gateway, "lobby").await;
        let (mut b, _) = bob.join(&gateway, "lobby").await;
        let declared = declare(&ada, "보고서 \"1\".txt", "text/plain", TEXT).await;
        complete(&ada, &declared).await.problem(409, "not-uploaded");
        assert!(system.upload(&declared, TEXT).await.is_success());
        complete(&bob, &declared).await.problem(403, "not-the-uploader");
        let completed = complete(&ada, &declared).await.ok();
        assert_eq!(completed["file"], declared["file"]);
        assert_eq!(complete(&ada, &declared).await.ok(), completed, "twice is harmless");

        let id = completed["file"]["id"].as_str().unwrap();
        a.ok("send-msg", json!({ "roomId": room, "msg": "", "fileId": id })).await;
        let received = b.expect("receive-msg").await;
        assert_eq!(received["file"], completed["file"]);

        let answer = bob.get(&format!("/file/{id}")).await;
        assert_eq!(answer.status, 302);
        let url = answer.headers["location"].to_str().unwrap();
        assert!(!url.starts_with(&system.base), "the storage's own origin");
        let download = system.http.get(url).send().await.unwrap();
        let disposition = download.headers()["content-disposition"].to_str().unwrap().to_owned();
        assert!(disposition.starts_with("attachment; "), "{disposition}");
        assert!(disposition.contains("filename*=UTF-8''%EB%B3%B4"), "{disposition}");
        assert_eq!(download.bytes().await.unwrap(), TEXT);
        let request =
            bob.request(Method::GET, &format!("/file/{id}")).header("accept", "application/json");
        let link = Answer::of(request).await.ok();
        assert!(link["url"].is_string() && link["expiresAt"].is_string());

        let stranger = system.user("eve").await;
        stranger.get(&format!("/file/{id}")).await.problem(404, "no-such-file");
    }

    async fn the_storage_refuses_undeclared_content(system: System) {
        let ada = system.user("ada").await;
        ada.create_room("lobby").await;
        let declared = declare(&ada, "a.txt", "text/plain", TEXT).await;
        let longer = [TEXT, b"x"].concat();
        assert!(!system.upload(&declared, &longer).await.is_success());
        let other = vec![b'x'; TEXT.len()];
        let same_size = system.upload(&declared, &other).await;
        assert!(!same_size.is_success(), "the signed checksum");
        // The development storage keeps an object that it refused; the check removes it. S3 keeps nothing.
        let checked = complete(&ada, &declared).await;
        assert!([409, 422].contains(&checked.status.as_u16()), "{}", checked.body);
        complete(&ada, &declared).await.problem(409, "not-uploaded");
        // After the refusal the right content can still be uploaded, once.
        assert!(system.upload(&declared, TEXT).await.is_success());
        assert!(!system.upload(&declared, TEXT).await.is_success(), "if-none-match");
        complete(&ada, &declared).await.ok();
    }

    async fn images_must_be_images(system: System) {
        let ada = system.user("ada").await;
        ada.create_room("lobby").await;
        let script = b"<html><script>alert(1)</script></html>";
        let declared = declare(&ada, "a.png", "image/png", script).await;
        assert!(system.upload(&declared, script).await.is_success());
        complete(&ada, &declared).await.problem(422, "file-mismatch");
        complete(&ada, &declared).await.problem(409, "not-uploaded");
    }

    async fn invalid_files_are_refused(system: System) {
        let gateway = system.start_gateway().await;
        let ada = system.user("ada").await;
        let room = ada.create_room("lobby").await;
        let file = |body: Value| ada.post("/room/lobby/file", body);
        let too_large = json!({ "name": "a", "size": 8 * 1024 * 1024 + 1, "type": "text/plain" });
        file(too_large).await.problem(413, "file-too-large");
        for bad in [
            json!({ "name": "a/b", "size": 1, "type": "text/plain" }),
            json!({ "name": "a", "size": 1, "type": "text" }),
            json!({ "name": "a", "size": 1, "type": "text/plain", "sha256": "zz" }),
        ] {
            file(bad).await.problem(422, "invalid-value");
        }
        file(json!({ "name": "a", "size": -1, "type": "text/plain" }))
            .await
            .problem(422, "invalid-value");
        ada.get("/file/nonsense").await.problem(404, "no-such-file");

        // A message cannot show a file of another room or an incomplete one.
        let declared = declare(&ada, "a.txt", "text/plain", TEXT).await;
        let (mut socket, _) = ada.join(&gateway, "lobby").await;
        let send = json!({ "roomId": room, "msg": "", "fileId": declared["file"]["id"] });
        socket.refused("send-msg", send.clone(), "no-such-file").await;
        system.upload(&declared, TEXT).await;
        complete(&ada, &declared).await.ok();
        let other = ada.create_room("other").await;
        let (mut elsewhere, _) = ada.join(&gateway, "other").await;
        let to_other = json!({ "roomId": other, "msg": "", "fileId": declared["file"]["id"] });
        elsewhere.refused("send-msg", to_other, "no-such-file").await;
        socket.ok("send-msg", send).await;
    }
}
