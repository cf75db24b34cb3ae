//! Rooms are created, entered, listed and deleted over HTTP.

use serde_json::{Value, json};
use stories::{System, stories};

fn names(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|room| room["name"].as_str().unwrap()).collect()
}

stories! {
    async fn a_room_is_created_and_entered(system: System) {
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let made = ada.post("/room", json!({ "name": "한글방", "title": "우리 방" })).await;
        assert_eq!(made.status, 201);
        bob.post("/room", json!({ "name": "한글방" })).await.problem(409, "room-exists");
        let entered = bob.enter("한글방").await;
        assert_eq!(entered["room"], made.body);
        assert_eq!(
            (&entered["you"]["role"], &entered["members"]["count"]),
            (&json!("member"), &json!(2))
        );
        assert_eq!(
            (&entered["ticketExpiresIn"], &entered["gateway"]),
            (&json!(120), &json!(system.base))
        );
        assert_eq!(entered["head"], 2, "two people came");
        assert_eq!(ada.enter("한글방").await["you"]["role"], "owner");
        let members = ada.get("/room/한글방/member").await.ok();
        assert_eq!(names(&members), ["ada", "bob"]);
        ada.get("/room/nowhere").await.problem(404, "no-such-room");
        ada.get("/room/a.b").await.problem(404, "no-such-room");
    }

    async fn a_private_room_does_not_exist_for_others(system: System) {
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        ada.post("/room", json!({ "name": "secret", "private": true })).await.ok();
        bob.get("/room/secret").await.problem(404, "no-such-room");
        bob.get("/room/secret/message").await.problem(404, "no-such-room");
        bob.delete("/room/secret").await.problem(404, "no-such-room");
        assert_eq!(names(&bob.get("/room").await.ok()), Vec::<&str>::new());
        assert_eq!(names(&ada.get("/room").await.ok()), ["secret"]);
    }

    async fn rooms_are_listed_in_pages_and_searched_by_name(system: System) {
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        for name in ["alpha", "beta", "gamma_x", "gammay", "한글방"] {
            ada.create_room(name).await;
        }
        bob.enter("beta").await;
        let first = bob.get("/room?limit=3").await.ok();
        assert_eq!(names(&first), ["alpha", "beta", "gamma_x"]);
        let cursor = first["next"].as_str().unwrap();
        let second = bob.get(&format!("/room?limit=3&cursor={cursor}")).await.ok();
        assert_eq!((names(&second), &second["next"]), (vec!["gammay", "한글방"], &Value::Null));
        assert_eq!(names(&bob.get("/room?mine=true").await.ok()), ["beta"]);
        assert_eq!(names(&bob.get("/room?query=글").await.ok()), ["한글방"]);
        assert_eq!(names(&bob.get("/room?query=A_").await.ok()), ["gamma_x"], "no wildcard");
        bob.get("/room?cursor=made-up").await.problem(422, "invalid-value");
        // NUL, also in a cursor: PostgreSQL cannot store it.
        for query in ["query=%00", "cursor=Ilx1MDAwMCI"] {
            bob.get(&format!("/room?{query}")).await.problem(422, "invalid-value");
        }
        bob.get("/room?limit=0").await.problem(422, "invalid-value");
        bob.get("/room?colour=red").await.problem(422, "unknown-field");
    }

    async fn only_the_creator_deletes_a_room(system: System) {
        let gateway = system.start_gateway().await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        let (mut socket, _) = bob.join(&gateway, "lobby").await;
        let ticket = bob.join_data("lobby", None).await;
        bob.delete("/room/lobby").await.problem(403, "not-the-creator");
        let deleted = ada.delete("/room/lobby").await;
        assert_eq!(deleted.status, 204);
        let event = socket.expect("room-deleted").await;
        assert_eq!((&event["roomId"], &event["by"]), (&json!(room), &json!(ada.id)));
        socket.refused("send-msg", json!({ "roomId": room, "msg": "anyone?" }), "not-joined").await;
        // The ticket has not expired, but the room is deleted.
        socket.refused("join-room", ticket, "room-deleted").await;
        ada.get("/room/lobby").await.problem(404, "no-such-room");
        ada.delete("/room/lobby").await.problem(404, "no-such-room");
        // The name is free for another room.
        assert_ne!(bob.create_room("lobby").await, room);
    }

    async fn a_notice_needs_a_moderator(system: System) {
        let gateway = system.start_gateway().await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        let (mut socket, _) = bob.join(&gateway, "lobby").await;
        let notice = json!({ "msg": "tea is ready" });
        bob.post("/room/lobby/broadcast", notice.clone()).await.problem(403, "not-a-moderator");
        socket.refused("room-broadcast", json!({ "roomId": room, "msg": "no" }), "forbidden").await;
        let accepted = ada.post("/room/lobby/broadcast", notice).await;
        assert_eq!(accepted.status, 202);
        let event = socket.expect("room-broadcast").await;
        assert_eq!((&event["msg"], &event["seq"]), (&json!("tea is ready"), &accepted.body["seq"]));
        assert_eq!(event["from"]["id"], json!(ada.id));
    }
}
