//! What a hostile client does to a gateway. In each, somebody honest watches: nothing is lost, nothing
//! foreign is delivered, and the honest one goes on. More of the kind is in `bad_events` (shapes of
//! events, tokens and tickets), `hostile_wire` (packets, frames, requests), `limits` (floods) and `events` (removal).

use std::time::Duration;

use protocol::{Role, RoomId};
use serde_json::{Value, json};
use stories::{Database, Gateway, Socket, User, World};

pub struct Stage {
    pub world: World,
    pub gateway: Gateway,
    pub room: RoomId,
    pub ada: User,
    pub mallory: User,
    pub watcher: Socket,
}

impl Stage {
    pub async fn set() -> Self {
        Self::with(&[]).await
    }

    pub async fn with(variables: &[(&str, &str)]) -> Self {
        let mut world = World::new(Database::Sqlite).await;
        variables.iter().for_each(|(name, value)| world.set(name, value));
        let gateway = world.gateway().await;
        let (ada, mallory) = (world.user("ada").await, world.user("mallory").await);
        let room = ada.create_room("lobby").await;
        let (watcher, _) = ada.join(&gateway, "lobby").await;
        Self { world, gateway, room, ada, mallory, watcher }
    }

    pub async fn mallory(&self) -> Socket {
        self.mallory.join(&self.gateway, "lobby").await.0
    }

    /// The honest one sends, receives, and sees nothing else that was stored meanwhile.
    pub async fn goes_on(&mut self) {
        let sent =
            self.watcher.ok("send-msg", json!({ "roomId": self.room, "msg": "still here" })).await;
        let event =
            self.watcher.expect_where("receive-msg", |data| data["msg"] == "still here").await;
        assert_eq!(event["seq"], sent["seq"]);
        let texts = self.watcher.stored();
        assert!(texts.iter().all(|(name, ..)| name != "receive-msg"), "{texts:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refresh_and_access_tokens_do_not_stand_for_each_other() {
    let mut stage = Stage::set().await;
    let refused =
        Socket::try_connect(&stage.gateway.base, json!({ "token": stage.mallory.refresh }));
    assert_eq!(refused.await.err().unwrap()["data"]["code"], "token-invalid");
    let spent = json!({ "refreshToken": stage.mallory.access });
    stage.world.post("/login/refresh", spent).await.problem(401, "refresh-invalid");
    stage.goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_signed_with_the_public_key_is_none() {
    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
    let mut stage = Stage::set().await;
    let jwks: Value = stage
        .world
        .http
        .get(format!("{}/.well-known/jwks.json", stage.world.base))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let key = &jwks["keys"][0];
    // The claims of a good token under `alg: HS256`, with the public key as the secret.
    let part = stage.mallory.access.split('.').nth(1).unwrap();
    let claims = jsonwebtoken::dangerous::insecure_decode::<Value>(&stage.mallory.access);
    let claims = claims.unwrap().claims;
    assert!(part.len() > 10 && claims["sub"].is_string());
    for secret in [
        key["x"].as_str().unwrap().as_bytes().to_vec(),
        key.to_string().into_bytes(),
        jwks.to_string().into_bytes(),
        vec![],
    ] {
        for algorithm in [Algorithm::HS256, Algorithm::HS512] {
            let header =
                Header { kid: key["kid"].as_str().map(str::to_owned), ..Header::new(algorithm) };
            let token = encode(&header, &claims, &EncodingKey::from_secret(&secret)).unwrap();
            let refused = Socket::try_connect(&stage.gateway.base, json!({ "token": token })).await;
            assert_eq!(refused.err().unwrap()["data"]["code"], "token-invalid");
        }
    }
    stage.goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_joined_read_or_changed_without_membership() {
    let mut stage = Stage::set().await;
    let secret = stage.ada.post("/room", json!({ "name": "secret", "private": true })).await.ok();
    let (room, mallory) = (&secret["id"], &stage.mallory);
    for path in ["/room/secret", "/room/secret/message?after=0", "/room/secret/message"] {
        mallory.get(path).await.problem(404, "no-such-room");
    }
    let mut socket = stage.mallory().await;
    // A ticket for another room, and one that somebody else got.
    let own = stage.mallory.enter("lobby").await;
    let join =
        json!({ "roomId": room, "userId": stage.mallory.id, "ticket": own["ticket"], "after": 0 });
    socket.refused("join-room", join, "ticket-wrong-room").await;
    let theirs = stage.ada.enter("secret").await;
    let join = json!({ "roomId": room, "userId": stage.mallory.id, "ticket": theirs["ticket"] });
    socket.refused("join-room", join, "ticket-wrong-user").await;
    for (name, fields) in [
        ("send-msg", json!({ "msg": "x" })),
        ("edit-msg", json!({ "seq": 1, "msg": "x" })),
        ("delete-msg", json!({ "seq": 1 })),
        ("react", json!({ "seq": 1, "emoji": "👍", "on": true })),
        ("typing", json!({ "on": true })),
        ("read", json!({ "seq": 1 })),
        ("signal", json!({ "to": stage.ada.id, "data": 1 })),
        ("room-broadcast", json!({ "msg": "x" })),
        ("new", json!({ "msg": "x" })),
        ("leave-room", json!({})),
    ] {
        let mut data = fields;
        data["roomId"] = room.clone();
        socket.refused(name, data, "not-joined").await;
    }
    stage.goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn senders_places_and_headers_cannot_be_forged() {
    let mut stage = Stage::set().await;
    let mut socket = stage.mallory().await;
    let room = stage.room;
    for field in [
        json!({ "from": { "id": stage.ada.id, "name": "ada" } }),
        json!({ "seq": 1 }),
        json!({ "prev": 0 }),
        json!({ "at": "2020-01-01T00:00:00.000Z" }),
        json!({ "Nats-Msg-Id": "x" }),
        json!({ "headers": { "Nats-Rollup": "all" } }),
        json!({ "__proto__": {} }),
    ] {
        let mut data = json!({ "roomId": room, "msg": "x" });
        data.as_object_mut().unwrap().extend(field.as_object().unwrap().clone());
        socket.refused("send-msg", data, "unknown-field").await;
    }
    socket
        .refused(
            "send-msg",
            json!({ "roomId": room, "msg": "x", "id": "a\r\nNats-Rollup: all" }),
            "invalid-value",
        )
        .await;
    // A text may say what it wants: it stays text.
    let text =
        "\r\nNats-Rollup: all\r\n\r\n\"]}],{\"seq\":1,\"from\":{}} +OK\r\nPUB chat.0.in.x 0\r\n";
    let before = stage.watcher.ok("send-msg", json!({ "roomId": room, "msg": "before" })).await;
    stage.watcher.expect("receive-msg").await;
    let sent = socket.ok("send-msg", json!({ "roomId": room, "msg": text })).await;
    let event = stage.watcher.expect("receive-msg").await;
    assert_eq!(
        (&event["msg"], &event["seq"], &event["prev"]),
        (&json!(text), &sent["seq"], &before["seq"])
    );
    assert_eq!(event["from"]["id"], json!(stage.mallory.id));
    stage.goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_in_any_form_and_numbers_and_keys_of_any_kind_have_one_meaning_or_none() {
    let mut stage = Stage::set().await;
    let room = stage.room;
    let mut socket = stage.mallory().await;
    for name in
        ["a\u{202E}b", "a\u{0}b", "\u{7}", "\u{2066}x", "a\u{200B}\u{200B}", "\u{FEFF}", "x\ny"]
    {
        let ack = socket.call("new", json!({ "roomId": room, "msg": name })).await;
        assert_eq!(ack["error"]["code"], "invalid-value", "{name:?}: {ack}");
    }
    // Decomposed, it is the same name as composed.
    socket.ok("new", json!({ "roomId": room, "msg": "Zoe\u{308}" })).await;
    let is_new = |data: &Value| {
        data["joined"][0]["name"].as_str().is_some_and(|name| name.starts_with("Zo"))
    };
    let renamed = stage.watcher.expect_where("presence", is_new).await;
    assert_eq!(renamed["joined"][0]["name"], "Zo\u{eb}");
    for (packet, code) in [
        (format!(r#"["read",{{"roomId":"{room}","seq":9007199254740992}}]"#), "invalid-value"),
        (format!(r#"["read",{{"roomId":"{room}","seq":1e3}}]"#), "wrong-type"),
        (format!(r#"["read",{{"roomId":"{room}","seq":-1}}]"#), "invalid-value"),
        (
            format!(
                r#"["send-msg",{{"roomId":"{room}","msg":"x","replyTo":18446744073709551616}}]"#
            ),
            "wrong-type",
        ),
        (format!(r#"["send-msg",{{"roomId":"{room}","msg":"a","msg":"b"}}]"#), "duplicate-field"),
        (
            format!(
                r#"["send-msg",{{"roomId":"{room}","roomId":"{}","msg":"a"}}]"#,
                RoomId::generate()
            ),
            "duplicate-field",
        ),
    ] {
        socket.send(&format!("4277{packet}")).await;
        assert_eq!(socket.ack(77).await["error"]["code"], code, "{packet}");
    }
    let deep = format!(
        r#"["signal",{{"roomId":"{room}","to":"{}","data":{}{}}}]"#,
        stage.ada.id,
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    socket.send(&format!("4278{deep}")).await;
    assert_eq!(socket.ack(78).await["error"]["code"], "invalid-value");
    stage.goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owners_ticket_is_worth_nothing_to_others() {
    let mut stage = Stage::set().await;
    let mut socket = stage.mallory.connect(&stage.gateway).await;
    let ticket = stage.world.ticket(&stage.ada, stage.room, Role::Owner);
    let join = json!({ "roomId": stage.room, "userId": stage.ada.id, "ticket": ticket });
    socket.refused("join-room", join, "wrong-user").await;
    stage.goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_is_acknowledged_once_whatever_it_is() {
    let mut stage = Stage::set().await;
    let (room, user) = (stage.room, stage.mallory.id);
    let mut socket = stage.mallory().await;
    let good =
        socket.ok("send-msg", json!({ "roomId": room, "msg": "first" })).await["seq"].clone();
    let ticket = stage.mallory.enter("lobby").await["ticket"].clone();
    let events = [
        json!(["send-msg", { "roomId": room, "msg": "x" }]),
        json!(["send-msg", { "roomId": room }]),
        json!(["edit-msg", { "roomId": room, "seq": good, "msg": "y" }]),
        json!(["delete-msg", { "roomId": room, "seq": 999_999_999 }]),
        json!(["react", { "roomId": room, "seq": good, "emoji": "👍", "on": true }]),
        json!(["typing", { "roomId": room, "on": true }]),
        json!(["typing", { "roomId": room, "on": true }]),
        json!(["read", { "roomId": room, "seq": good }]),
        json!(["read", { "roomId": room, "seq": good }]),
        json!(["signal", { "roomId": room, "to": user, "data": null }]),
        json!(["new", { "roomId": room, "msg": "M" }]),
        json!(["join-room", { "roomId": room, "userId": user, "ticket": ticket }]),
        json!(["join-room", { "roomId": room, "userId": user, "ticket": "x" }]),
        json!(["leave-room", { "roomId": RoomId::generate() }]),
        json!(["refresh", { "token": "x" }]),
        json!(["refresh", { "token": stage.mallory.access }]),
        json!(["room-broadcast", { "roomId": room, "msg": "x" }]),
        json!(["nothing", 1, 2, 3]),
        json!(["send-msg"]),
    ];
    // In one go, three times over: some are past the rate. Then a mark behind them all.
    for round in 0..3 {
        for (index, event) in events.iter().enumerate() {
            socket.send(&format!("42{}{event}", 1_000 + round * 100 + index)).await;
        }
    }
    for round in 0..3 {
        for index in 0..events.len() as u64 {
            let ack = socket.ack(1_000 + round * 100 + index).await;
            assert!(ack["ok"].is_boolean(), "{ack}");
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    socket.refused("leave-room", json!({}), "missing-field").await;
    assert_eq!(socket.unclaimed_acks(), 0, "none came twice");
    stage.watcher.forget();
    stage.goes_on().await;
}
