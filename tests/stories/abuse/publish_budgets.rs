//! What a user and a room may publish: one budget, whichever door it comes by.

use std::collections::BTreeMap;

use protocol::RoomId;
use serde_json::{Value, json};
use stories::{Answer, Database, Gateway, Socket, User, World, eventually, stories};
use uuid::Uuid;

/// More tries than any budget here allows, even while it refills.
const TRIES: usize = 40;

async fn post(user: &User, room: &str) -> Answer {
    let body = json!({ "id": Uuid::now_v7(), "msg": "x" });
    user.post(&format!("/room/{room}/message"), body).await
}

/// Sends by HTTP until it is refused; how many were not.
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

/// The same by sockets in turns.
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

/// A slow budget: five at once, then one in two seconds.
fn limit(world: &mut World, whose: &str) {
    world.set(&format!("LIMIT_{whose}_EVENT_RATE"), "0.5");
    world.set(&format!("LIMIT_{whose}_EVENT_BURST"), "5");
}

stories! {
    async fn a_user_has_one_budget_over_http_at_all_instances(world: World) {
        let mut world = world;
        let (ada, bob) = (world.user("ada").await, world.user("bob").await);
        ada.create_room("lobby").await;
        bob.enter("lobby").await;
        let public = json!({ "name": "bob" });
        limit(&mut world, "USER");
        let (first, second) = (world.functions().await, world.functions().await);
        let (a, elsewhere, bob) = (ada.at(&first), ada.at(&second), bob.at(&first));
        let count = post_until(&a, "lobby", "user-rate-limited").await;
        assert!((5..20).contains(&count), "{count}");
        // Whatever else stores an event or tells the gateways comes out of it too, everywhere.
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
                ("create", elsewhere.post("/room", json!({ "name": format!("r{}", Uuid::new_v4().simple()) })).await),
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
            // Somebody got a token that was due: the room may be gone.
            if elsewhere.get("/room/lobby").await.status == 404 {
                ada.create_room("lobby").await;
                bob.at(&world.base).enter("lobby").await;
            }
        }
        assert_eq!(refused.len(), 9, "{refused:?}");
        // Reading is not publishing, and others are not concerned.
        elsewhere.get("/user").await.ok();
        bob.patch("/user", json!({ "displayName": "B." })).await.ok();
        eventually("a token", async || (a.patch("/user", json!({})).await.status == 200).then_some(())).await;
    }

    async fn a_user_has_one_budget_for_all_sockets(world: World) {
        let mut world = world;
        let (ada, bob) = (world.user("ada").await, world.user("bob").await);
        let room = ada.create_room("lobby").await;
        limit(&mut world, "USER");
        let gateway = world.gateway().await;
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
        // What is not stored is not published.
        a[0].ok("typing", json!({ "roomId": room, "on": true })).await;
        let again = Vec::from([a.pop().unwrap()]);
        let again = std::cell::RefCell::new(again);
        eventually("a token", async || {
            let mut socket = again.borrow_mut().pop().unwrap();
            let sent = socket.call("send-msg", json!({ "roomId": room, "msg": "again" })).await;
            again.borrow_mut().push(socket);
            (sent["ok"] == true).then_some(())
        }).await;
    }

    async fn a_room_has_one_budget_for_all_who_send_to_it(world: World) {
        let mut world = world;
        let ada = world.user("ada").await;
        let (room, other) = (ada.create_room("lobby").await, ada.create_room("other").await);
        let mut users = Vec::new();
        for name in ["bob", "cid", "dan"] {
            let user = world.user(name).await;
            user.enter("lobby").await;
            users.push(user);
        }
        limit(&mut world, "ROOM");
        let base = world.functions().await;
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
        // Nobody pays for it in another room, and whoever moderates can do so.
        let ada_there = ada.at(&base);
        assert_eq!(post(&ada_there, "other").await.status, 201);
        let ban = format!("/room/lobby/member/{}?ban=true", users[0].id);
        assert_eq!(ada_there.delete(&ban).await.status, 204);

        let gateway = world.gateway().await;
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
        eventually("a token", async || (post(&ada_there, "lobby").await.status == 201).then_some(())).await;
    }

    async fn rooms_are_made_and_deleted_so_often_an_hour(world: World) {
        let mut world = world;
        let (ada, bob) = (world.user("ada").await, world.user("bob").await);
        world.set("LIMIT_ROOMS_PER_HOUR", "3");
        let base = world.functions().await;
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

    async fn a_budget_that_is_paid_off_leaves_no_row(world: World) {
        let mut world = world;
        world.set("LIMIT_ROOMS_PER_HOUR", "0");
        let base = world.functions().await;
        let ada = world.user("ada").await.at(&base);
        ada.create_room("lobby").await;
        ada.say("lobby", "x").await;
        assert_eq!(world.count("SELECT COUNT(*) FROM publish_budget").await, 2, "a user and a room");
        eventually("no row", async || {
            // An archive of its own each time: one tidies at its beginning.
            world.archive_once().await;
            (world.count("SELECT COUNT(*) FROM publish_budget").await == 0).then_some(())
        }).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn budgets_that_are_zero_limit_nothing() {
    let mut world = World::new(Database::Sqlite).await;
    for whose in ["USER", "ROOM"] {
        limit(&mut world, whose);
        world.set(&format!("LIMIT_{whose}_EVENT_RATE"), "0");
    }
    let (base, gateway) = (world.functions().await, world.gateway().await);
    let ada = world.user("ada").await.at(&base);
    let room = ada.create_room("lobby").await;
    let (mut socket, _) = ada.join(&gateway, "lobby").await;
    for _ in 0..15 {
        assert_eq!(post(&ada, "lobby").await.status, 201);
        socket.ok("send-msg", json!({ "roomId": room, "msg": "x" })).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_one_process_both_doors_share_a_budget() {
    let folder = tempfile::TempDir::new().unwrap();
    let limits = [("LIMIT_USER_EVENT_RATE", "0.1"), ("LIMIT_USER_EVENT_BURST", "8")];
    let mut local = tokio::process::Command::new(stories::binary("local"));
    let (_child, base) = stories::ready_local(local.envs(limits), folder.path()).await;
    let http = reqwest::Client::new();
    let call = async |method: reqwest::Method, path: &str, token: Option<&str>, body: Value| {
        let mut request = http.request(method, format!("{base}{path}"));
        if !body.is_null() {
            request = request.json(&body);
        }
        let request = token.into_iter().fold(request, reqwest::RequestBuilder::bearer_auth);
        Answer::of(request).await
    };
    use reqwest::Method;
    let ada = json!({ "name": "ada", "password": stories::PASSWORD });
    call(Method::POST, "/user", None, ada.clone()).await.ok();
    let login = call(Method::POST, "/login", None, ada).await.ok();
    let token = login["accessToken"].as_str().unwrap();
    call(Method::POST, "/room", Some(token), json!({ "name": "lobby" })).await.ok();
    let mut count = 0;
    loop {
        let message = json!({ "id": Uuid::now_v7(), "msg": "x" });
        let sent = call(Method::POST, "/room/lobby/message", Some(token), message).await;
        if sent.status != 201 {
            sent.problem(429, "user-rate-limited");
            break;
        }
        count += 1;
    }
    assert!((7..20).contains(&count), "{count}");
    let entered = call(Method::GET, "/room/lobby", Some(token), Value::Null).await.ok();
    let mut socket = Socket::connect(&base, token).await;
    let room = entered["room"]["id"].clone();
    let join =
        json!({ "roomId": room, "userId": login["user"]["id"], "ticket": entered["ticket"] });
    socket.ok("join-room", join).await;
    // At most one was paid off meanwhile.
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(socket.call("send-msg", json!({ "roomId": room, "msg": "x" })).await);
    }
    let refused = |answer: &&Value| answer["error"]["code"] == "user-rate-limited";
    assert!(answers.iter().filter(refused).count() >= 2, "{answers:?}");
}
