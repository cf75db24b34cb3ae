//! Deletion of an account, and the export of all data about it.

use serde_json::{Value, json};
use stories::{Closed, PASSWORD, Socket, System, User, stories};

async fn authors(user: &User, room: &str) -> Vec<Value> {
    let page = user.get(&format!("/room/{room}/message")).await.ok();
    page["items"].as_array().unwrap().iter().map(|item| item["from"]["name"].clone()).collect()
}

stories! {
    async fn a_deleted_account_leaves_its_messages(system: System) {
        let gateway = system.start_gateway().await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let lobby = ada.create_room("lobby").await;
        ada.create_room("den").await;
        let mut watcher = bob.join(&gateway, "lobby").await.0;
        ada.post_message("lobby", "one").await;
        assert!(system.archive_once().await > 0);
        ada.post_message("lobby", "two").await;
        bob.post_message("lobby", "three").await;
        let mut socket = ada.connect(&gateway).await;

        ada.delete_with("/user", json!({ "password": "wrong" }))
            .await
            .problem(403, "wrong-password");
        let deleted = ada.delete_with("/user", json!({ "password": PASSWORD })).await;
        assert_eq!(deleted.status, 204);
        assert_eq!(socket.expect("session-expired").await["code"], "session-revoked");
        assert_eq!(socket.closed().await, Closed::Code(1000));
        ada.get("/user").await.problem(401, "session-revoked");
        let refresh = json!({ "refreshToken": ada.refresh });
        system.post("/login/refresh", refresh).await.problem(401, "refresh-invalid");
        let login = json!({ "name": "ada", "password": PASSWORD });
        system.post("/login", login).await.problem(401, "bad-credentials");
        let refused = Socket::try_connect(&gateway.base, json!({ "token": ada.access })).await;
        assert_eq!(refused.err().unwrap()["data"]["code"], "session-revoked");

        let gone = watcher.expect("member-left").await;
        assert_eq!(gone["user"], json!({ "id": ada.id, "name": "deleted user" }));
        // Whether archived or not.
        assert_eq!(authors(&bob, "lobby").await, ["deleted user", "deleted user", "bob"]);
        let list = bob.get("/room?mine=true").await.ok();
        assert_eq!(list["items"].as_array().unwrap().len(), 1);
        // Her rooms with members have a new owner and creator; rooms without members are deleted.
        let entered = bob.enter("lobby").await;
        assert_eq!(
            (&entered["you"]["role"], &entered["room"]["creatorId"]),
            (&json!("owner"), &json!(bob.id))
        );
        bob.get("/room/den").await.problem(404, "no-such-room");
        bob.create_room("den").await;
        assert_eq!(entered["room"]["id"], json!(lobby));
        assert_eq!(bob.delete("/room/lobby").await.status, 204);
        // The name is free, and a new account with it is another user.
        let another = system.user("ada").await;
        assert_ne!(another.id, ada.id);
        another.get("/room/lobby").await.problem(404, "no-such-room");
    }

    async fn the_archive_finishes_what_a_deletion_began(system: System) {
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        ada.create_room("lobby").await;
        bob.enter("lobby").await;
        ada.post_message("lobby", "one").await;
        while system.archive_once().await > 0 {}
        // The state after a crash right behind the first transaction.
        let now =
            if system.is_postgres() { "now()" } else { "strftime('%Y-%m-%dT%H:%M:%f+00:00')" };
        let statement = format!(
            "UPDATE account SET deleted_at = {now}, name = 'x', display_name = 'deleted user',
                   password_hash = '' WHERE name = 'ada'"
        );
        assert_eq!(system.execute(&statement).await, 1);
        assert_eq!(authors(&bob, "lobby").await, ["deleted user"]);
        system.archive_once().await;
        assert_eq!(bob.enter("lobby").await["you"]["role"], "owner");
        assert_eq!(
            system.count("SELECT COUNT(*) FROM account WHERE erased_at IS NOT NULL").await,
            0
        );
        // A minute later the name is removed everywhere.
        let ago = if system.is_postgres() {
            "now() - interval '2 minutes'"
        } else {
            "strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now', '-2 minutes')"
        };
        system
            .execute(&format!("UPDATE account SET deleted_at = {ago} WHERE deleted_at IS NOT NULL"))
            .await;
        while system.archive_once().await > 0 {}
        assert_eq!(system.count("SELECT COUNT(*) FROM message WHERE author_name = 'ada'").await, 0);
        assert_eq!(
            system.count("SELECT COUNT(*) FROM account WHERE erased_at IS NOT NULL").await,
            1
        );
        assert_eq!(authors(&bob, "lobby").await, ["deleted user"]);
    }

    async fn an_export_contains_everything_stored(system: System) {
        let gateway = system.start_gateway().await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        bob.create_room("club").await;
        bob.delete(&format!("/room/club/member/{}?ban=true", ada.id)).await.ok();
        let (mut socket, _) = ada.join(&gateway, "lobby").await;
        let seq = ada.post_message("lobby", "안녕").await;
        let change = json!({ "roomId": room, "seq": seq, "msg": "안녕!" });
        socket.ok("edit-msg", change).await;
        socket.ok("react", json!({ "roomId": room, "seq": seq, "emoji": "👍", "on": true })).await;
        let file = json!({ "name": "a.txt", "size": 3, "type": "text/plain" });
        let declared = ada.post("/room/lobby/file", file).await.ok();
        while system.archive_once().await > 0 {}
        // More rows than one query reads.
        let many = if system.is_postgres() {
            "INSERT INTO message (room_id, seq, id, author_id, author_name, msg, at)
             SELECT m.room_id, 1000 + n, gen_random_uuid(), m.author_id, m.author_name, 'many', m.at
                 FROM message m, generate_series(1, 1200) n"
        } else {
            "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 1200)
             INSERT INTO message (room_id, seq, id, author_id, author_name, msg, at)
             SELECT m.room_id, 1000 + n, randomblob(16), m.author_id, m.author_name, 'many', m.at FROM message m, s"
        };
        assert_eq!(system.execute(many).await, 1200);
        let export = ada.get("/user/export").await;
        assert!(export.headers["content-disposition"].to_str().unwrap().starts_with("attachment"));
        let export = export.ok();
        assert_eq!(export["account"], ada.get("/user").await.ok());
        assert_eq!(export["sessions"][0]["current"], true);
        assert_eq!(
            (&export["rooms"][0]["room"], &export["rooms"][0]["role"]),
            (&json!("lobby"), &json!("owner"))
        );
        assert!(export["bans"][0]["roomId"].is_string());
        let messages = export["messages"].as_array().unwrap();
        assert_eq!((messages.len(), &messages[0]["msg"]), (1201, &json!("안녕!")));
        assert!(messages[0]["editedAt"].is_string());
        let seqs: std::collections::BTreeSet<u64> =
            messages.iter().map(|message| message["seq"].as_u64().unwrap()).collect();
        assert_eq!(seqs.len(), 1201);
        assert_eq!(
            (&export["reactions"][0]["target"], &export["reactions"][0]["emoji"]),
            (&json!(seq), &json!("👍"))
        );
        assert_eq!(export["files"][0]["file"], declared["file"]);
        let other = bob.get("/user/export").await.ok();
        assert_eq!((&other["messages"], &other["account"]["name"]), (&json!([]), &json!("bob")));
    }
}
