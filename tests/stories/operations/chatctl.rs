//! The operator's commands. Their effects reach sockets at once, like those of users' requests.

use std::{io::Write as _, process::Stdio};

use serde_json::{Value, json};
use stories::{PASSWORD, System, binary, eventually, stories};

/// Runs `chatctl`; returns whether it succeeded, its output, and its errors.
async fn try_chatctl(system: &System, arguments: &[&str], input: &str) -> (bool, String, String) {
    let mut command = std::process::Command::new(binary("chatctl"));
    command.args(arguments).envs(system.variables()).env("RUST_LOG", "warn");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let input = input.to_owned();
    let output = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    });
    let output = output.await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

async fn chatctl(system: &System, arguments: &[&str]) -> Value {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    let (succeeded, output, errors) = try_chatctl(system, &arguments, "").await;
    assert!(succeeded, "{arguments:?}: {errors}");
    serde_json::from_str(&output).unwrap()
}

async fn assert_refused(system: &System, arguments: &[&str], reason: &str) {
    let (succeeded, _, errors) = try_chatctl(system, arguments, "").await;
    assert!(!succeeded && errors.contains(reason), "{arguments:?}: {errors}");
}

async fn login(system: &System, name: &str, password: &str) -> stories::Answer {
    system.post("/login", json!({ "name": name, "password": password })).await
}

stories! {
    async fn a_disabled_user_is_signed_out_and_cannot_log_in(system: System) {
        let gateway = system.start_gateway().await;
        let ada = system.user("ada").await;
        let mut socket = ada.connect(&gateway).await;
        chatctl(&system, &["users", "disable", "ada"]).await;
        socket.expect("session-expired").await;
        ada.get("/user").await.problem(401, "session-revoked");
        let refresh = system.post("/login/refresh", json!({ "refreshToken": ada.refresh })).await;
        refresh.problem(401, "refresh-invalid");
        login(&system, "ada", PASSWORD).await.problem(403, "account-disabled");
        // Without the password, the account looks like any other.
        login(&system, "ada", "wrong").await.problem(401, "bad-credentials");
        let listed = chatctl(&system, &["users", "list", "--disabled"]).await;
        assert_eq!((listed.as_array().unwrap().len(), &listed[0]["name"]), (1, &json!("ada")));
        chatctl(&system, &["users", "enable", "ada"]).await;
        let ada = system.login("ada").await;
        let mut socket = ada.connect(&gateway).await;

        let sessions = chatctl(&system, &["sessions", "list", "ada"]).await;
        assert_eq!(sessions.as_array().unwrap().len(), 1, "{sessions}");
        chatctl(&system, &["sessions", "end", sessions[0]["id"].as_str().unwrap()]).await;
        socket.expect("session-expired").await;
        let (one, other) = (system.login("ada").await, system.login("ada").await);
        let (mut one, mut other) = (one.connect(&gateway).await, other.connect(&gateway).await);
        chatctl(&system, &["users", "sign-out", "ada"]).await;
        one.expect("session-expired").await;
        other.expect("session-expired").await;
    }

    async fn a_reset_password_replaces_the_old_one(system: System) {
        let gateway = system.start_gateway().await;
        let ada = system.user("ada").await;
        let mut socket = ada.connect(&gateway).await;
        let reset = chatctl(&system, &["users", "reset-password", "ada"]).await;
        socket.expect("session-expired").await;
        login(&system, "ada", PASSWORD).await.problem(401, "bad-credentials");
        login(&system, "ada", reset["password"].as_str().unwrap()).await.ok();
        let given = "given by the operator";
        let arguments = ["users", "reset-password", &ada.id.to_string(), "--stdin"];
        let (succeeded, output, errors) = try_chatctl(&system, &arguments, &format!("{given}\n")).await;
        assert!(succeeded && !output.contains(given) && !errors.contains(given), "{errors}");
        login(&system, "ada", given).await.ok();
        let (succeeded, _, errors) = try_chatctl(&system, &arguments, "short").await;
        assert!(!succeeded && errors.contains("8 to 128 characters"), "{errors}");
    }

    async fn a_deleted_user_leaves_everything(system: System) {
        let gateway = system.start_gateway().await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        ada.create_room("lobby").await;
        let (mut at_bob, _) = bob.join(&gateway, "lobby").await;
        let mut at_ada = ada.connect(&gateway).await;
        assert_refused(&system, &["users", "delete", "ada"], "--yes").await;
        chatctl(&system, &["users", "delete", "ada", "--yes"]).await;
        at_ada.expect("session-expired").await;
        at_bob.expect("member-left").await;
        login(&system, "ada", PASSWORD).await.problem(401, "bad-credentials");
        assert_refused(&system, &["users", "show", "ada"], "there is no user ada").await;
        let room = chatctl(&system, &["rooms", "show", "lobby"]).await;
        assert_eq!((&room["creator"], &room["staff"][0]["role"]), (&json!("bob"), &json!("owner")));
    }

    async fn a_banned_user_leaves_at_once_and_may_return_after_the_ban(system: System) {
        let gateway = system.start_gateway().await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        let room = ada.create_room("lobby").await;
        let (mut at_ada, _) = ada.join(&gateway, "lobby").await;
        let (mut at_bob, _) = bob.join(&gateway, "lobby").await;
        assert_refused(&system, &["bans", "add", "lobby", "ada"], "only owner").await;
        chatctl(&system, &["bans", "add", "LOBBY", "bob"]).await;
        let removed = at_ada.expect("member-removed").await;
        assert_eq!((&removed["user"]["id"], &removed["banned"]), (&json!(bob.id), &json!(true)));
        at_bob.expect("member-removed").await;
        eventually("the socket to have left the room", || async {
            let late = bob.post("/room/lobby/message",
                json!({ "id": uuid::Uuid::now_v7(), "msg": "late" })).await;
            (late.status == 403).then_some(())
        })
        .await;
        let late = json!({ "roomId": room, "msg": "late" });
        at_bob.refused("send-msg", late, "not-joined").await;
        bob.get("/room/lobby").await.problem(403, "banned");
        let bans = chatctl(&system, &["bans", "list", "--room", "lobby"]).await;
        assert_eq!((&bans[0]["user"], &bans[0]["bannedBy"]), (&json!("bob"), &json!("ada")));
        chatctl(&system, &["bans", "lift", "lobby", "bob"]).await;
        assert_refused(&system, &["bans", "lift", "lobby", "bob"], "not banned").await;
        at_bob.ok("join-room", bob.join_data("lobby", None).await).await;
    }

    async fn an_owner_is_replaced_and_a_room_deleted(system: System) {
        let gateway = system.start_gateway().await;
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        ada.create_room("lobby").await;
        assert_refused(&system, &["rooms", "owner", "lobby", "bob"], "not a member").await;
        let (mut at_bob, _) = bob.join(&gateway, "lobby").await;
        chatctl(&system, &["rooms", "owner", "lobby", "bob", "--only"]).await;
        let change = json!({ "title": "new" });
        ada.patch("/room/lobby", change.clone()).await.problem(403, "not-an-owner");
        bob.patch("/room/lobby", change).await.ok();
        let members = bob.get("/room/lobby/member").await.ok();
        let role_of = |name: &str| {
            let items = members["items"].as_array().unwrap();
            items.iter().find(|member| member["name"] == name).unwrap()["role"].clone()
        };
        assert_eq!((role_of("ada"), role_of("bob")), (json!("moderator"), json!("owner")));
        ada.delete("/room/lobby").await.problem(403, "not-the-creator");
        assert_refused(&system, &["rooms", "delete", "lobby"], "--yes").await;
        chatctl(&system, &["rooms", "delete", "lobby", "--yes"]).await;
        at_bob.expect("room-deleted").await;
        bob.get("/room/lobby").await.problem(404, "no-such-room");
        assert_eq!(chatctl(&system, &["rooms", "list"]).await, json!([]));
    }

    async fn lists_and_numbers_are_those_of_the_database(system: System) {
        let (ada, bob) = (system.user("ada").await, system.user("bob").await);
        ada.create_room("lobby").await;
        ada.create_room("kitchen").await;
        bob.enter("lobby").await;
        bob.post_message("lobby", "hello").await;
        while system.archive_once().await > 0 {}
        let users = chatctl(&system, &["users", "list"]).await;
        let rows: Vec<_> = users.as_array().unwrap().iter()
            .map(|user| (user["name"].as_str().unwrap(), user["rooms"].as_i64(), user["sessions"].as_i64()))
            .collect();
        assert_eq!(rows, [("ada", Some(2), Some(1)), ("bob", Some(1), Some(1))]);
        let page = chatctl(&system, &["users", "list", "--after", "ada", "--limit", "1"]).await;
        assert_eq!((page.as_array().unwrap().len(), &page[0]["name"]), (1, &json!("bob")));
        let rooms = chatctl(&system, &["rooms", "list", "--prefix", "lob"]).await;
        assert_eq!((&rooms[0]["name"], &rooms[0]["members"]), (&json!("lobby"), &json!(2)));
        assert_eq!(chatctl(&system, &["users", "list", "--prefix", "_d"]).await, json!([]));
        let shown = chatctl(&system, &["users", "show", "bob"]).await;
        assert_eq!(shown["memberships"][0]["name"], "lobby", "{shown}");
        let stats = chatctl(&system, &["stats"]).await;
        for (name, number) in [("users", 2), ("rooms", 2), ("members", 3), ("messages", 1), ("outboxRows", 0)] {
            assert_eq!(stats[name], number, "{name}: {stats}");
        }
        let (_, table, _) = try_chatctl(&system, &["users", "list"], "").await;
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines.len() == 3 && lines[0].starts_with("name ") && lines[1].starts_with("ada "), "{table}");
    }
}
