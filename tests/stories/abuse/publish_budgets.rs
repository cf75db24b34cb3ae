//! Publish budgets of users and rooms: each is shared by HTTP and sockets, and by all instances.

use std::collections::BTreeMap;

use protocol::RoomId;
use serde_json::json;
use stories::{Answer, Database, Gateway, Socket, System, User, eventually, stories};
use uuid::Uuid;

/// More attempts than any budget here allows, even while it refills.
const TRIES: usize = 40;

async fn post(user: &User, room: &str) -> Answer {
    let body = json!({ "id": Uuid::now_v7(), "msg": "x" });
    user.post(&format!("/room/{room}/message"), body).await
}

/// Sends over HTTP until a message is refused; returns the number of accepted ones.
async fn post_until(user: &User, room: &str, code: &str) -> usize {
    for count in 0..TRIES {
        let sent = post(user, room).await;
        if sent.status != 201 {
            sent.problem(429, code);
            let wait: u64 = sent.headers["retry-after"].to_str().unwrap().parse().unwrap();
            assert!((1..=60).contains(&wait), "{wait}");
            return count;
        }
    }
    unreachable!("none of {TRIES} is refused");
}

/// The same over sockets in turn.
async fn emit_until(sockets: &mut [Socket], room: RoomId, code: &str) -> usize {
    for count in 0..TRIES {
        let socket = &mut sockets[count % 3];
        let sent = socket.call("send-msg", json!({ "roomId": room, "msg": "x" })).await;
        if sent["ok"] != true {
            assert_eq!(sent["error"]["code"], code, "{sent}");
            assert!(sent["error"]["detail"].as_str().unwrap().contains("try again in"), "{sent}");
            return count;
        }
    }
    unreachable!("none of {TRIES} is refused");
}

async fn sockets(user: &User, gateway: &Gateway, room: &str) -> Vec<Socket> {
    let mut sockets = Vec::new();
    for _ in 0..3 {
        sockets.push(user.join(gateway, room).await.0);
    }
    sockets
}

/// A slow budget: a burst of five, then one every two seconds.
fn limit(system: &mut System, whose: &str) {
    system.set_variable(&format!("LIMIT_{whose}_EVENT_RATE"), "0.5");
    system.set_variable(&format!("LIMIT_{whose}_EVENT_BURST"), "5");
}

stories! {
    async fn a_user_has_one_budget_at_all_instances(system: System) {
        let mut system = system;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        ada.create_room("lobby").await;
        bob.enter("lobby").await;
        let public = json!({ "name": "bob" });
        limit(&mut system, "USER");
        let (first, second) = (system.start_functions().await, system.start_functions().await);
        let (a, elsewhere, bob) = (ada.at(&first), ada.at(&second), bob.at(&first));
        let count = post_until(&a, "lobby", "user-rate-limited").await;
        assert!((5..20).contains(&count), "{count}");
        // Every other operation that publishes uses the same budget.
        let member = format!("/room/lobby/member/{}", bob.id);
        let mut refused = BTreeMap::new();
        for _ in 0..TRIES {
            let answers = [
                ("message", post(&elsewhere, "lobby").await),
                ("broadcast", elsewhere.post("/room/lobby/broadcast", json!({ "msg": "x" })).await),
                ("change room", elsewhere.patch("/room/lobby", json!({ "title": "x" })).await),
                ("change role", elsewhere.patch(&member, json!({ "role": "moderator" })).await),
                ("take in", elsewhere.post("/room/lobby/member", public.clone()).await),
                ("remove", elsewhere.delete(&member).await),
                (
                    "create",
                    elsewhere
                        .post("/room", json!({ "name": format!("r{}", Uuid::new_v4().simple()) }))
                        .await,
                ),
                ("rename", elsewhere.patch("/user", json!({ "displayName": "A." })).await),
                ("delete", elsewhere.delete("/room/lobby").await),
            ];
            for (what, answer) in answers {
                if answer.status == 429 {
                    answer.problem(429, "user-rate-limited");
                    *refused.entry(what).or_insert(0) += 1;
                }
            }
            if refused.len() == 9 {
                break;
            }
            // A refilled token may have been used to delete the room.
            if elsewhere.get("/room/lobby").await.status == 404 {
                ada.create_room("lobby").await;
                bob.at(&system.base).enter("lobby").await;
            }
        }
        assert_eq!(refused.len(), 9, "{refused:?}");
        // Reading uses no budget, and other users are not affected.
        elsewhere.get("/user").await.ok();
        bob.patch("/user", json!({ "displayName": "B." })).await.ok();
        eventually("a token", async || {
            (a.patch("/user", json!({})).await.status == 200).then_some(())
        })
        .await;
    }

    async fn a_user_has_one_budget_for_all_sockets(system: System) {
        let mut system = system;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        limit(&mut system, "USER");
        let gateway = system.start_gateway().await;
        let mut a = sockets(&ada, &gateway, "lobby").await;
        let mut b = sockets(&bob, &gateway, "lobby").await;
        let count = emit_until(&mut a, room, "user-rate-limited").await;
        assert!((5..20).contains(&count), "{count}");
        b[0].ok("send-msg", json!({ "roomId": room, "msg": "and I?" })).await;
        let mut codes = std::collections::BTreeSet::new();
        for _ in 0..TRIES {
            let reaction = json!({ "roomId": room, "seq": 1, "emoji": "👍", "on": true });
            for (socket, event, data) in [
                (0, "room-broadcast", json!({ "roomId": room, "msg": "x" })),
                (1, "react", reaction),
                (2, "edit-msg", json!({ "roomId": room, "seq": 1, "msg": "x" })),
                (0, "delete-msg", json!({ "roomId": room, "seq": 1 })),
                (1, "read", json!({ "roomId": room, "seq": 2 })),
            ] {
                let answer = a[socket].call(event, data).await;
                if answer["error"]["code"] == "user-rate-limited" {
                    codes.insert(event);
                }
            }
            if codes.len() == 5 {
                break;
            }
        }
        assert_eq!(codes.len(), 5, "{codes:?}");
        // Events that are not stored use no budget.
        a[0].ok("typing", json!({ "roomId": room, "on": true })).await;
        let again = Vec::from([a.pop().unwrap()]);
        let again = std::cell::RefCell::new(again);
        eventually("a token", async || {
            let mut socket = again.borrow_mut().pop().unwrap();
            let sent = socket.call("send-msg", json!({ "roomId": room, "msg": "again" })).await;
            again.borrow_mut().push(socket);
            (sent["ok"] == true).then_some(())
        })
        .await;
    }

    async fn a_room_has_one_budget_for_all_senders(system: System) {
        let mut system = system;
        let ada = system.user("ada").await;
        let (room, other) = (ada.create_room("lobby").await, ada.create_room("other").await);
        let mut users = Vec::new();
        for name in ["bob", "cid", "dan"] {
            let user = system.user(name).await;
            user.enter("lobby").await;
            users.push(user);
        }
        limit(&mut system, "ROOM");
        let base = system.start_functions().await;
        let mut count = 0;
        let refused = 'flood: loop {
            for user in &users {
                let sent = post(&user.at(&base), "lobby").await;
                if sent.status != 201 {
                    break 'flood sent;
                }
                count += 1;
            }
        };
        refused.problem(429, "room-rate-limited");
        assert!((5..20).contains(&count), "{count}");
        // Other rooms are not affected, and moderation still works.
        let ada_there = ada.at(&base);
        assert_eq!(post(&ada_there, "other").await.status, 201);
        let ban = format!("/room/lobby/member/{}?ban=true", users[0].id);
        assert_eq!(ada_there.delete(&ban).await.status, 204);

        let gateway = system.start_gateway().await;
        let (mut a, _) = ada.join(&gateway, "lobby").await;
        let mut flooders = Vec::new();
        for user in [&users[1], &users[2], &ada] {
            flooders.push(user.join(&gateway, "lobby").await.0);
        }
        let target = a.ok("send-msg", json!({ "roomId": room, "msg": "x" })).await["seq"].clone();
        emit_until(&mut flooders, room, "room-rate-limited").await;
        a.ok("delete-msg", json!({ "roomId": room, "seq": target })).await;
        a.ok("join-room", ada.join_data("other", None).await).await;
        a.ok("send-msg", json!({ "roomId": other, "msg": "x" })).await;
        eventually("a token", async || {
            (post(&ada_there, "lobby").await.status == 201).then_some(())
        })
        .await;
    }

    async fn creating_and_deleting_rooms_is_limited_per_hour(system: System) {
        let mut system = system;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        system.set_variable("LIMIT_ROOMS_PER_HOUR", "3");
        let base = system.start_functions().await;
        let (ada, bob) = (ada.at(&base), bob.at(&base));
        for _ in 0..3 {
            ada.create_room("again").await;
            assert_eq!(ada.delete("/room/again").await.status, 204);
        }
        let refused = ada.post("/room", json!({ "name": "again" })).await;
        refused.problem(429, "too-many-new-rooms");
        let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1_000..=1_200).contains(&wait), "{wait}");
        bob.create_room("again").await;
        assert_eq!(post(&bob, "again").await.status, 201);
    }

    async fn a_refilled_budget_leaves_no_row(system: System) {
        let mut system = system;
        system.set_variable("LIMIT_ROOMS_PER_HOUR", "0");
        let base = system.start_functions().await;
        let ada = system.user("ada").await.at(&base);
        ada.create_room("lobby").await;
        ada.post_message("lobby", "x").await;
        assert_eq!(
            system.count("SELECT COUNT(*) FROM publish_budget").await,
            2,
            "a user and a room"
        );
        eventually("no row", async || {
            // A new archive each time: it removes old rows when it starts.
            system.archive_once().await;
            (system.count("SELECT COUNT(*) FROM publish_budget").await == 0).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_of_zero_is_unlimited() {
    let mut system = System::new(Database::Sqlite).await;
    for whose in ["USER", "ROOM"] {
        limit(&mut system, whose);
        system.set_variable(&format!("LIMIT_{whose}_EVENT_RATE"), "0");
    }
    let (base, gateway) = (system.start_functions().await, system.start_gateway().await);
    let ada = system.user("ada").await.at(&base);
    let room = ada.create_room("lobby").await;
    let (mut socket, _) = ada.join(&gateway, "lobby").await;
    for _ in 0..15 {
        assert_eq!(post(&ada, "lobby").await.status, 201);
        socket.ok("send-msg", json!({ "roomId": room, "msg": "x" })).await;
    }
}
