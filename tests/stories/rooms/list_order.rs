//! The order of the room list, and what it says about the newest message of each room.

use serde_json::{Value, json};
use stories::{System, User, stories};

fn names(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|room| room["name"].as_str().unwrap()).collect()
}

/// The names on all pages of a list.
async fn all_names(user: &User, list: &str) -> Vec<String> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = user.get(&format!("{list}{cursor}")).await.ok();
        found.extend(names(&page).into_iter().map(str::to_owned));
        let Some(next) = page["next"].as_str() else { return found };
        assert!(found.len() < 100, "{found:?}");
        cursor = format!("&cursor={next}");
    }
}

async fn archive_all(system: &System) {
    while system.archive_once().await > 0 {}
}

stories! {
    async fn own_rooms_are_listed_by_latest_activity(system: System) {
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        for name in ["alpha", "beta", "gamma", "other"] {
            ada.create_room(name).await;
        }
        for name in ["beta", "gamma", "alpha"] {
            bob.enter(name).await;
            ada.post_message(name, "hello").await;
        }
        // A room without messages counts as active when it was created.
        bob.create_room("silent").await;
        archive_all(&system).await;
        let by_activity = ["silent", "alpha", "gamma", "beta"];
        assert_eq!(names(&bob.get("/room?mine=true").await.ok()), by_activity);
        for list in ["/room?mine=true&limit=1", "/room?mine=true&sort=activity&limit=3"] {
            assert_eq!(all_names(&bob, list).await, by_activity, "{list}");
        }
        let with_a = "/room?mine=true&query=A&limit=1";
        assert_eq!(all_names(&bob, with_a).await, ["alpha", "gamma", "beta"]);
        let by_name = ["alpha", "beta", "gamma", "silent"];
        assert_eq!(all_names(&bob, "/room?mine=true&sort=name&limit=3").await, by_name);
        assert_eq!(all_names(&bob, "/room?mine=true&sort=name&query=l&limit=1").await, ["alpha", "silent"]);

        ada.post_message("beta", "again").await;
        archive_all(&system).await;
        let moved = ["beta", "silent", "alpha", "gamma"];
        assert_eq!(names(&bob.get("/room?mine=true").await.ok()), moved);
    }

    async fn rooms_of_the_same_moment_are_listed_by_name(system: System) {
        let ada = system.user("ada").await;
        for name in ["gamma", "alpha", "delta", "beta"] {
            ada.create_room(name).await;
        }
        system.execute("UPDATE room SET created_at = (SELECT MIN(first.created_at) FROM room first)").await;
        let by_name = ["alpha", "beta", "delta", "gamma"];
        for limit in [1, 3, 50] {
            let list = format!("/room?mine=true&limit={limit}");
            assert_eq!(all_names(&ada, &list).await, by_name, "{limit}");
        }
    }

    async fn names_of_earlier_versions_do_not_end_a_list(system: System) {
        let ada = system.user("ada").await;
        for name in ["alpha", "beta", "gamma"] {
            ada.create_room(name).await;
        }
        // An earlier version accepted invisible characters.
        let invisible = "be\u{200B}ta";
        let rename = format!("UPDATE room SET name = '{invisible}' WHERE name = 'beta'");
        assert_eq!(system.execute(&rename).await, 1);
        for list in ["/room?limit=1", "/room?mine=true&limit=1", "/room?mine=true&sort=name&limit=1"] {
            let found = all_names(&ada, list).await;
            assert!(found.len() == 3 && found.iter().any(|name| name == invisible), "{list}: {found:?}");
        }
    }

    async fn a_room_list_refuses_other_orders_and_cursors(system: System) {
        let ada = system.user("ada").await;
        for name in ["alpha", "beta"] {
            ada.create_room(name).await;
        }
        let cursor = async |list: &str| {
            ada.get(&format!("{list}&limit=1")).await.ok()["next"].as_str().unwrap().to_owned()
        };
        let (of_names, of_activity) = (cursor("/room?mine=true&sort=name").await, cursor("/room?mine=true").await);
        // `[time, name]` with a time that PostgreSQL cannot store, and one with NUL in the name.
        let forged = ["WyItMjYwMDAwLTAxLTAxVDAwOjAwOjAwWiIsImEiXQ", "WyIyMDI2LTAxLTAxVDAwOjAwOjAwWiIsIlx1MDAwMCJd"];
        for (query, field) in [
            (format!("mine=true&cursor={of_names}"), "cursor"),
            (format!("mine=true&sort=name&cursor={of_activity}"), "cursor"),
            (format!("cursor={of_activity}"), "cursor"),
            (format!("mine=true&cursor={}", forged[0]), "cursor"),
            (format!("mine=true&cursor={}", forged[1]), "cursor"),
            ("mine=true&sort=size".to_owned(), "sort"),
            ("sort=activity".to_owned(), "sort"),
            ("mine=false&sort=activity".to_owned(), "sort"),
        ] {
            let answer = ada.get(&format!("/room?{query}")).await;
            answer.problem(422, "invalid-value");
            assert_eq!(answer.body["errors"][0]["field"], field, "{query}");
        }
        assert_eq!(all_names(&ada, "/room?sort=name&limit=1").await, ["alpha", "beta"]);
    }

    async fn a_room_list_tells_files_from_deleted_messages(system: System) {
        let gateway = system.start_gateway().await;
        let ada = system.user("ada").await;
        let room = ada.create_room("lobby").await;
        let body = json!({ "name": "notes.txt", "size": 5, "type": "text/plain" });
        let declared = ada.post("/room/lobby/file", body).await.ok();
        assert!(system.upload(&declared, b"hello").await.is_success());
        let id = declared["file"]["id"].as_str().unwrap();
        let file = ada.post(&format!("/file/{id}/complete"), json!({})).await.ok()["file"].clone();
        let (mut socket, _) = ada.join(&gateway, "lobby").await;
        let sent = socket.ok("send-msg", json!({ "roomId": room, "msg": "", "fileId": id })).await;
        let last_message = async || {
            archive_all(&system).await;
            let lists = ["/room?mine=true", "/room?mine=true&sort=name", "/room", "/room?query=lobby"];
            let mut found = Vec::new();
            for list in lists {
                found.push(ada.get(list).await.ok()["items"][0]["lastMessage"].clone());
            }
            found.dedup();
            assert_eq!(found.len(), 1, "{found:?}");
            found.remove(0)
        };
        let last = last_message().await;
        assert_eq!((&last["msg"], &last["file"]), (&json!(""), &file), "{last}");
        assert!(last.get("deletedAt").is_none(), "{last}");
        assert_eq!(last["from"], json!({ "id": ada.id, "name": "ada" }));

        socket.ok("delete-msg", json!({ "roomId": room, "seq": sent["seq"] })).await;
        let last = last_message().await;
        assert!(last["deletedAt"].is_string() && last.get("file").is_none(), "{last}");
        assert_eq!((&last["msg"], &last["seq"]), (&json!(""), &sent["seq"]));
    }
}
