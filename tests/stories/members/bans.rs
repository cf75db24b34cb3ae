//! A ban takes precedence over a membership in every operation. Here both rows exist, as a concurrent join
//! and ban could leave them in an earlier version.

use reqwest::Method;
use serde_json::{Value, json};
use stories::{Answer, System, User, stories};

async fn ban_beside_the_membership(system: &System, user: &User) {
    let now =
        if system.is_postgres() { "now()" } else { "strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')" };
    let ban = format!(
        "INSERT INTO ban (room_id, user_id, banned_by, at)
         SELECT m.room_id, m.user_id, m.user_id, {now} FROM member m JOIN account a ON a.id = m.user_id
         WHERE a.name = '{}'",
        user.name
    );
    assert_eq!(system.execute(&ban).await, 2);
}

async fn upload(system: &System, user: &User, room: &str, is_completed: bool) -> String {
    let file = json!({ "name": "a.txt", "size": 3, "type": "text/plain" });
    let declared = user.post(&format!("/room/{room}/file"), file).await.ok();
    assert!(system.upload(&declared, b"abc").await.is_success());
    let path = format!("/file/{}", declared["file"]["id"].as_str().unwrap());
    if is_completed {
        user.post(&format!("{path}/complete"), json!({})).await.ok();
    }
    path
}

/// The member list of both rooms is the owner alone; the banned member cannot be changed and inherits nothing.
async fn assert_only_owner_is_member(ada: &User, of_bob: &str) {
    for room in ["lobby", "hidden"] {
        assert_eq!(ada.enter(room).await["members"]["count"], 1, "{room}");
        let members = ada.get(&format!("/room/{room}/member")).await.ok();
        let members = members["items"].as_array().unwrap();
        assert!(members.iter().all(|member| member["id"] == json!(ada.id)), "{members:?}");
        assert_eq!(members.len(), 1);
        let role = json!({ "role": "owner" });
        ada.patch(&format!("/room/{room}{of_bob}"), role).await.problem(404, "no-such-member");
        // A banned member cannot inherit the room.
        ada.delete(&format!("/room/{room}/member/{}", ada.id)).await.problem(409, "last-owner");
    }
}

stories! {
    async fn a_banned_member_reads_nothing_and_is_hidden(system: System) {
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        ada.create_room("lobby").await;
        bob.enter("lobby").await;
        ada.post("/room", json!({ "name": "hidden", "private": true })).await.ok();
        ada.post("/room/hidden/member", json!({ "name": "bob" })).await.ok();
        ada.post_message("lobby", "for members").await;
        let files = [
            upload(&system, &ada, "lobby", true).await,
            upload(&system, &bob, "lobby", true).await,
        ];
        let begun = upload(&system, &bob, "lobby", false).await;
        while system.archive_once().await > 0 {}
        ban_beside_the_membership(&system, &bob).await;
        ada.post_message("lobby", "after the ban").await;
        while system.archive_once().await > 0 {}

        // The caller has no rooms left. A public room looks as it does to a stranger.
        for path in ["/room?mine=true", "/room?mine=true&query=lob", "/room?query=hid"] {
            assert_eq!(bob.get(path).await.ok()["items"], json!([]), "{path}");
        }
        for path in ["/room", "/room?query=lob"] {
            let page = bob.get(path).await.ok();
            let room = &page["items"][0];
            assert_eq!(page["items"].as_array().unwrap().len(), 1, "{path}: {page}");
            assert_eq!(
                (&room["unread"], &room["lastMessage"]),
                (&Value::Null, &Value::Null),
                "{path}"
            );
        }
        let message = || json!({ "id": uuid::Uuid::now_v7(), "msg": "x" });
        let file = || json!({ "name": "a.txt", "size": 3, "type": "text/plain" });
        let of_bob = format!("/member/{}", bob.id);
        for (room, status, code) in [("lobby", 403, "banned"), ("hidden", 404, "no-such-room")] {
            let reads =
                ["", "/message", "/message?after=0", "/message/search?q=members", "/member"];
            for path in reads {
                bob.get(&format!("/room/{room}{path}")).await.problem(status, code);
            }
            let writes = [
                (Method::POST, "/message", message()),
                (Method::POST, "/broadcast", json!({ "msg": "x" })),
                (Method::POST, "/file", file()),
                (Method::POST, "/member", json!({ "name": "ada" })),
                (Method::PATCH, "", json!({ "title": "mine" })),
                (Method::PATCH, of_bob.as_str(), json!({ "role": "owner" })),
                (Method::DELETE, of_bob.as_str(), json!({})),
            ];
            for (method, path, body) in writes {
                let request = bob.request(method, &format!("/room/{room}{path}")).json(&body);
                Answer::of(request).await.problem(status, code);
            }
        }
        for path in &files {
            bob.get(path).await.problem(404, "no-such-file");
        }
        bob.post(&format!("{begun}/complete"), json!({})).await.problem(404, "no-such-file");
        let export = bob.get("/user/export").await.ok();
        assert_eq!(export["rooms"], json!([]));
        assert_eq!(export["bans"].as_array().unwrap().len(), 2);

        assert_only_owner_is_member(&ada, &of_bob).await;
    }
}
