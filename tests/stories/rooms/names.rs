//! Room names: one room in any case, and no two that look alike.

use serde_json::{Value, json};
use stories::{System, stories};

fn names(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|room| room["name"].as_str().unwrap()).collect()
}

/// The same name as typed in another case, width or Unicode form.
const SAME: [(&str, &[&str]); 6] = [
    ("Lobby", &["lobby", "LOBBY", "ｌｏｂｂｙ"]),
    ("Straße", &["STRASSE", "strasse", "straẞe"]),
    ("ΟΔΟΣ", &["οδος", "οδοσ"]),
    ("École", &["école", "E\u{301}COLE"]),
    ("ガイド", &["ｶﾞｲﾄﾞ", "カ\u{3099}イト\u{3099}"]),
    ("می\u{200C}خواهم", &["میخواهم"]),
];

stories! {
    async fn a_room_is_unique_and_found_in_any_case(system: System) {
        let gateway = system.start_gateway().await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        for (name, others) in SAME {
            let made = ada.post("/room", json!({ "name": name })).await.ok();
            assert_eq!(made["name"], name, "shown as typed");
            for other in others {
                for body in [json!({ "name": other }), json!({ "name": other, "password": "open sesame" })] {
                    bob.post("/room", body).await.problem(409, "room-exists");
                }
                let entered = bob.enter(other).await;
                assert_eq!((&entered["room"]["id"], &entered["room"]["name"]), (&made["id"], &json!(name)));
                bob.post_message(other, "hello").await;
                assert!(bob.get(&format!("/room/{other}/message")).await.ok()["items"].is_array());
                let (mut socket, _) = bob.join(&gateway, other).await;
                socket.ok("send-msg", json!({ "roomId": made["id"], "msg": "x" })).await;
            }
            let title = json!({ "title": "new" });
            ada.patch(&format!("/room/{}", others[0]), title).await.ok();
        }
        // A deleted room's name is free, in any case.
        ada.delete("/room/LOBBY").await;
        bob.get("/room/Lobby").await.problem(404, "no-such-room");
        bob.create_room("LOBBY").await;
        ada.enter("lobby").await;
    }

    async fn a_room_password_is_checked_in_any_case(system: System) {
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        ada.post("/room", json!({ "name": "Vault", "password": "open sesame" })).await.ok();
        let path = |name: &str| format!("/room/{name}/member");
        bob.post(&path("VAULT"), json!({ "password": "wrong password" })).await.problem(403, "wrong-password");
        bob.post(&path("vault"), json!({ "password": "open sesame" })).await.ok();
    }

    async fn names_with_invisible_characters_are_refused(system: System) {
        let ada = system.user("ada").await;
        for name in [
            "lob\u{200B}by", "lobby\u{3164}", "\u{115F}", "\u{FFA0}", "lobby\u{FE0F}", "lobby\u{E0061}", "lob\u{AD}by",
            "lob\u{34F}by", "lob\u{200D}by", "lob\u{202E}by", "lob\u{2060}by", "lobby\u{2800}", "\u{2800}",
            "lobby\u{180B}", "lobby\u{E0100}", "lob\u{17B4}by", "lobby\0", "lobby\u{7}",
        ] {
            let refused = ada.post("/room", json!({ "name": name })).await;
            refused.problem(422, "invalid-value");
            assert_eq!(refused.body["errors"][0]["field"], "name", "{name:?}: {}", refused.body);
        }
        for name in ["می\u{200C}خواهم", "क्\u{200D}ष", "ශ්\u{200D}රී"] {
            assert_eq!(ada.post("/room", json!({ "name": name })).await.ok()["name"], name);
            ada.enter(name).await;
        }
        for control in ["a\0b", "a\u{1B}b"] {
            let refused = ada.post("/room", json!({ "name": control })).await;
            let detail = refused.body["errors"][0]["detail"].as_str().unwrap();
            assert!(detail.contains("control character U+00"), "{detail}");
        }
    }

    async fn the_migration_keeps_the_older_of_colliding_rooms(system: System) {
        let ada = system.user("ada").await;
        let mut ids = Vec::new();
        for name in ["zero", "one", "two", "three", "four"] {
            ids.push(ada.create_room(name).await);
        }
        // The database as the previous version left it.
        for sql in [
            "DROP INDEX room_folded_name_key",
            "DROP INDEX room_unfolded_idx",
            "DROP INDEX message_unfolded_idx",
            "ALTER TABLE room DROP COLUMN folded_name",
            "ALTER TABLE message DROP COLUMN fold_version",
            "DELETE FROM _sqlx_migrations WHERE version = 9",
            "UPDATE room SET name = 'LOBBY' WHERE name = 'zero'",
            "UPDATE room SET name = 'Lobby' WHERE name = 'one'",
            "UPDATE room SET name = 'lobby' WHERE name = 'two'",
            "UPDATE room SET name = 'lobby-2' WHERE name = 'three'",
            "UPDATE room SET name = 'lob\u{3164}by' WHERE name = 'four'",
            "UPDATE room SET parts = ''",
        ] {
            system.execute(sql).await;
        }
        for _ in 0..2 {
            system.provision().await;
            let kept = ["LOBBY", "Lobby-3", "lobby-4", "lobby-2", "lobby-5"];
            for (id, name) in ids.iter().zip(kept) {
                let room = &ada.enter(&name.to_lowercase()).await["room"];
                assert_eq!((&room["id"], &room["name"]), (&json!(id), &json!(name)));
            }
        }
        let found = ada.get("/room?query=LOBBY").await.ok();
        assert_eq!(names(&found).len(), 5, "{found}");
    }

    async fn a_room_of_the_previous_version_is_found_after_a_sweep(system: System) {
        let ada = system.user("ada").await;
        ada.create_room("Lobby").await;
        // The previous version, still running during a release, writes no key.
        system.execute("UPDATE room SET folded_name = NULL, parts = ''").await;
        ada.enter("Lobby").await;
        system.archive_once().await;
        ada.enter("LOBBY").await;
        assert_eq!(names(&ada.get("/room?query=LOB").await.ok()), ["Lobby"]);
    }
}
