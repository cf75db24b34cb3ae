//! Access to rooms and roles in them, over HTTP, and the events that sockets receive.

use serde_json::{Value, json};
use stories::{System, User, eventually, stories};

fn member(room: &str, user: &User) -> String {
    format!("/room/{room}/member/{}", user.id)
}

fn listed<'a>(page: &'a Value, user: &User) -> &'a Value {
    page["items"].as_array().unwrap().iter().find(|member| member["id"] == json!(user.id)).unwrap()
}

stories! {
    async fn a_room_with_a_password_admits_users_who_know_it(system: System) {
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.post("/room", json!({ "name": "club", "password": "sesame" })).await.ok();
        assert_eq!(room["passwordRequired"], true);
        bob.get("/room/club").await.problem(403, "password-required");
        bob.get("/room/club/message").await.problem(403, "not-a-member");
        bob.post("/room/club/member", json!({ "password": "open" }))
            .await
            .problem(403, "wrong-password");
        let joined = bob.post("/room/club/member", json!({ "password": "sesame" })).await;
        assert_eq!((joined.status.as_u16(), &joined.body["role"]), (201, &json!("member")));
        assert_eq!(
            bob.post("/room/club/member", json!({ "password": "sesame" })).await.status,
            200
        );
        assert_eq!(bob.enter("club").await["members"]["count"], 2);
        for body in [json!({}), json!({ "name": "bob", "password": "sesame" })] {
            ada.post("/room/club/member", body).await.problem(422, "invalid-value");
        }
        // Without a password, the room is open again.
        let open = ada.patch("/room/club", json!({ "password": null })).await.ok();
        assert_eq!(open["passwordRequired"], false);
        system.user("eve").await.enter("club").await;
        bob.patch("/room/club", json!({ "title": "Mine" })).await.problem(403, "not-an-owner");
    }

    async fn a_private_room_needs_an_invitation(system: System) {
        let (ada, bob, eve) =
            (system.user("ada").await, system.user("bob").await, system.user("eve").await);
        ada.post("/room", json!({ "name": "secret", "private": true, "password": "sesame" }))
            .await
            .ok();
        bob.get("/room/secret").await.problem(404, "no-such-room");
        let invited = ada.post("/room/secret/member", json!({ "name": "BOB" })).await;
        assert_eq!((invited.status.as_u16(), &invited.body["name"]), (201, &json!("bob")));
        assert_eq!(ada.post("/room/secret/member", json!({ "name": "bob" })).await.status, 200);
        bob.enter("secret").await;
        bob.post("/room/secret/member", json!({ "name": "eve" }))
            .await
            .problem(403, "not-a-moderator");
        ada.post("/room/secret/member", json!({ "name": "nobody" }))
            .await
            .problem(404, "no-such-user");
        // The answer does not show whether a private room exists.
        for room in ["secret", "nowhere"] {
            let guess =
                eve.post(&format!("/room/{room}/member"), json!({ "password": "wrong" })).await;
            guess.problem(404, "no-such-room");
            eve.post(&format!("/room/{room}/member"), json!({ "name": "bob" }))
                .await
                .problem(404, "no-such-room");
            eve.patch(&member(room, &bob), json!({ "role": "owner" }))
                .await
                .problem(404, "no-such-room");
            eve.delete(&member(room, &bob)).await.problem(404, "no-such-room");
        }
        assert_eq!(
            eve.post("/room/secret/member", json!({ "password": "sesame" })).await.status,
            201
        );
    }

    async fn role_changes_take_effect_at_once(system: System) {
        let gateway = system.start_gateway().await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        let (mut socket, _) = bob.join(&gateway, "lobby").await;
        let notice = json!({ "roomId": room, "msg": "notice" });
        socket.refused("room-broadcast", notice.clone(), "forbidden").await;
        bob.patch(&member("lobby", &bob), json!({ "role": "owner" }))
            .await
            .problem(403, "not-an-owner");
        let promoted = ada.patch(&member("lobby", &bob), json!({ "role": "moderator" })).await.ok();
        assert_eq!((&promoted["role"], &promoted["online"]), (&json!("moderator"), &json!(true)));
        let socket = tokio::sync::Mutex::new(socket);
        let until = |ok: bool| {
            let (socket, notice) = (&socket, &notice);
            eventually("the role to count", move || async move {
                let ack = socket.lock().await.call("room-broadcast", notice.clone()).await;
                (ack["ok"] == json!(ok)).then_some(())
            })
        };
        until(true).await;
        ada.patch(&member("lobby", &bob), json!({ "role": "member" })).await.ok();
        until(false).await;
        assert_eq!(bob.enter("lobby").await["you"]["role"], "member");
        let page = ada.get("/room/lobby/member").await.ok();
        assert_eq!(
            (&listed(&page, &bob)["online"], &listed(&page, &ada)["online"]),
            (&json!(true), &json!(false))
        );
        ada.patch(&member("lobby", &system.user("eve").await), json!({ "role": "owner" }))
            .await
            .problem(404, "no-such-member");
        ada.patch("/room/lobby/member/x", json!({ "role": "owner" }))
            .await
            .problem(404, "no-such-member");
    }

    async fn the_last_owner_stays_owner(system: System) {
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        ada.create_room("lobby").await;
        bob.enter("lobby").await;
        ada.patch(&member("lobby", &ada), json!({ "role": "member" }))
            .await
            .problem(409, "last-owner");
        ada.delete(&member("lobby", &ada)).await.problem(409, "last-owner");
        ada.patch(&member("lobby", &bob), json!({ "role": "owner" })).await.ok();
        assert_eq!(ada.delete(&member("lobby", &ada)).await.status, 204);
        bob.delete(&member("lobby", &bob)).await.problem(409, "last-owner");
        // A creator who is no longer a member can still delete the room.
        ada.get("/room/lobby/message").await.problem(403, "not-a-member");
        assert_eq!(ada.delete("/room/lobby").await.status, 204);
    }

    async fn removed_members_may_return_and_banned_ones_may_not(system: System) {
        let gateway = system.start_gateway().await;
        let (ada, bob, eve) =
            (system.user("ada").await, system.user("bob").await, system.user("eve").await);
        let room = ada.create_room("lobby").await;
        eve.enter("lobby").await;
        let (mut socket, _) = bob.join(&gateway, "lobby").await;
        let old = bob.join_data("lobby", None).await;
        eve.delete(&member("lobby", &bob)).await.problem(403, "not-a-moderator");
        ada.patch(&member("lobby", &eve), json!({ "role": "moderator" })).await.ok();
        eve.delete(&member("lobby", &ada)).await.problem(403, "not-an-owner");
        assert_eq!(eve.delete(&member("lobby", &bob)).await.status, 204);
        let removed = socket.expect("member-removed").await;
        assert_eq!((&removed["by"], &removed["banned"]), (&json!(eve.id), &json!(false)));
        let say = json!({ "roomId": room, "msg": "x" });
        eventually("bob to be out", || async {
            let said = bob.get("/room/lobby/message").await;
            (said.status == 403).then_some(())
        })
        .await;
        socket.refused("send-msg", say.clone(), "not-joined").await;
        socket.refused("join-room", old, "forbidden").await;
        socket.ok("join-room", bob.join_data("lobby", None).await).await;
        socket.ok("send-msg", say.clone()).await;

        bob.delete(&format!("{}?ban=true", member("lobby", &bob)))
            .await
            .problem(422, "invalid-value");
        assert_eq!(eve.delete(&format!("{}?ban=true", member("lobby", &bob))).await.status, 204);
        assert_eq!(socket.expect("member-removed").await["banned"], true);
        bob.get("/room/lobby").await.problem(403, "banned");
        bob.get("/room/lobby/message").await.problem(403, "banned");
        bob.post("/room/lobby/member", json!({ "password": "x" })).await.problem(403, "banned");
        eve.delete(&member("lobby", &bob)).await.problem(404, "no-such-member");
        // A user who was never a member can be banned too.
        let mallory = system.user("mallory").await;
        assert_eq!(
            eve.delete(&format!("{}?ban=true", member("lobby", &mallory))).await.status,
            204
        );
        mallory.get("/room/lobby").await.problem(403, "banned");
        // An invitation lifts the ban.
        assert_eq!(ada.post("/room/lobby/member", json!({ "name": "bob" })).await.status, 201);
        socket.ok("join-room", bob.join_data("lobby", None).await).await;
        // Every member can leave without permission.
        assert_eq!(bob.delete(&member("lobby", &bob)).await.status, 204);
        assert_eq!(socket.expect("member-left").await["user"]["id"], json!(bob.id));
    }

    async fn changes_of_a_room_are_published(system: System) {
        let gateway = system.start_gateway().await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        ada.create_room("lobby").await;
        let (mut socket, _) = bob.join(&gateway, "lobby").await;
        let changed =
            ada.patch("/room/lobby", json!({ "title": "Die Halle", "private": true })).await.ok();
        assert_eq!((&changed["title"], &changed["private"]), (&json!("Die Halle"), &json!(true)));
        let event = socket.expect("room-updated").await;
        assert_eq!(
            (&event["title"], &event["private"], &event["by"]),
            (&json!("Die Halle"), &json!(true), &json!(ada.id))
        );
        let eve = system.user("eve").await;
        eve.get("/room/lobby").await.problem(404, "no-such-room");
        assert_eq!(bob.get("/room?query=HALLE").await.ok()["items"][0]["name"], "lobby");
        assert_eq!(eve.get("/room?query=halle").await.ok()["items"], json!([]));
        let back = ada.patch("/room/lobby", json!({ "title": null, "private": false })).await.ok();
        assert_eq!(back["title"], Value::Null);
        assert_eq!(socket.expect("room-updated").await["title"], Value::Null);
        ada.patch("/room/lobby", json!({ "name": "hall" })).await.problem(422, "unknown-field");
    }
}
