//! Attacks of an authenticated client: tokens, membership, forged fields, names, acknowledgements. In each
//! test an honest socket checks that nothing is lost and nothing forged is delivered.

use protocol::{Role, RoomId};
use serde_json::{Value, json};
use stories::{DEADLINE, Database, Gateway, POLL_INTERVAL, Socket, System, User};

pub struct Fixture {
    pub system: System,
    pub gateway: Gateway,
    pub room: RoomId,
    pub ada: User,
    pub mallory: User,
    pub watcher: Socket,
}

impl Fixture {
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    pub async fn with(variables: &[(&str, &str)]) -> Self {
        let mut system = System::new(Database::Sqlite).await;
        variables.iter().for_each(|(name, value)| system.set_variable(name, value));
        let gateway = system.start_gateway().await;
        let (ada, mallory) = (system.user("ada").await, system.user("mallory").await);
        let room = ada.create_room("lobby").await;
        let (watcher, _) = ada.join(&gateway, "lobby").await;
        Self { system, gateway, room, ada, mallory, watcher }
    }

    pub async fn mallory(&self) -> Socket {
        self.mallory.join(&self.gateway, "lobby").await.0
    }

    /// Asserts that the honest socket can send and receive, and that nothing else was stored.
    pub async fn still_works(&mut self) {
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
async fn refresh_and_access_tokens_are_not_interchangeable() {
    let mut fixture = Fixture::new().await;
    let refused =
        Socket::try_connect(&fixture.gateway.base, json!({ "token": fixture.mallory.refresh }));
    assert_eq!(refused.await.err().unwrap()["data"]["code"], "token-invalid");
    let spent = json!({ "refreshToken": fixture.mallory.access });
    fixture.system.post("/login/refresh", spent).await.problem(401, "refresh-invalid");
    fixture.still_works().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_signed_with_the_public_key_is_refused() {
    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
    let mut fixture = Fixture::new().await;
    let jwks: Value = fixture
        .system
        .http
        .get(format!("{}/.well-known/jwks.json", fixture.system.base))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let key = &jwks["keys"][0];
    // The claims of a good token under `alg: HS256`, with the public key as the secret.
    let part = fixture.mallory.access.split('.').nth(1).unwrap();
    let claims = jsonwebtoken::dangerous::insecure_decode::<Value>(&fixture.mallory.access);
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
            let refused =
                Socket::try_connect(&fixture.gateway.base, json!({ "token": token })).await;
            assert_eq!(refused.err().unwrap()["data"]["code"], "token-invalid");
        }
    }
    fixture.still_works().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_cannot_join_read_or_write() {
    let mut fixture = Fixture::new().await;
    let secret = fixture.ada.post("/room", json!({ "name": "secret", "private": true })).await.ok();
    let (room, mallory) = (&secret["id"], &fixture.mallory);
    for path in ["/room/secret", "/room/secret/message?after=0", "/room/secret/message"] {
        mallory.get(path).await.problem(404, "no-such-room");
    }
    let mut socket = fixture.mallory().await;
    // A ticket for another room, and a ticket of another user.
    let own = fixture.mallory.enter("lobby").await;
    let join = json!({ "roomId": room, "userId": fixture.mallory.id, "ticket": own["ticket"], "after": 0 });
    socket.refused("join-room", join, "ticket-wrong-room").await;
    let theirs = fixture.ada.enter("secret").await;
    let join = json!({ "roomId": room, "userId": fixture.mallory.id, "ticket": theirs["ticket"] });
    socket.refused("join-room", join, "ticket-wrong-user").await;
    for (name, fields) in [
        ("send-msg", json!({ "msg": "x" })),
        ("edit-msg", json!({ "seq": 1, "msg": "x" })),
        ("delete-msg", json!({ "seq": 1 })),
        ("react", json!({ "seq": 1, "emoji": "👍", "on": true })),
        ("typing", json!({ "on": true })),
        ("read", json!({ "seq": 1 })),
        ("signal", json!({ "to": fixture.ada.id, "data": 1 })),
        ("room-broadcast", json!({ "msg": "x" })),
        ("new", json!({ "msg": "x" })),
        ("leave-room", json!({})),
    ] {
        let mut data = fields;
        data["roomId"] = room.clone();
        socket.refused(name, data, "not-joined").await;
    }
    fixture.still_works().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn senders_seqs_and_headers_cannot_be_forged() {
    let mut fixture = Fixture::new().await;
    let mut socket = fixture.mallory().await;
    let room = fixture.room;
    for field in [
        json!({ "from": { "id": fixture.ada.id, "name": "ada" } }),
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
    // The content of a message is only text.
    let text =
        "\r\nNats-Rollup: all\r\n\r\n\"]}],{\"seq\":1,\"from\":{}} +OK\r\nPUB chat.0.in.x 0\r\n";
    let before = fixture.watcher.ok("send-msg", json!({ "roomId": room, "msg": "before" })).await;
    fixture.watcher.expect("receive-msg").await;
    let sent = socket.ok("send-msg", json!({ "roomId": room, "msg": text })).await;
    let event = fixture.watcher.expect("receive-msg").await;
    assert_eq!(
        (&event["msg"], &event["seq"], &event["prev"]),
        (&json!(text), &sent["seq"], &before["seq"])
    );
    assert_eq!(event["from"]["id"], json!(fixture.mallory.id));
    fixture.still_works().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ambiguous_names_numbers_and_fields_are_refused() {
    let mut fixture = Fixture::new().await;
    let room = fixture.room;
    let mut socket = fixture.mallory().await;
    for name in
        ["a\u{202E}b", "a\u{0}b", "\u{7}", "\u{2066}x", "a\u{200B}\u{200B}", "\u{FEFF}", "x\ny"]
    {
        let ack = socket.call("new", json!({ "roomId": room, "msg": name })).await;
        assert_eq!(ack["error"]["code"], "invalid-value", "{name:?}: {ack}");
    }
    // A decomposed name is the same as the composed one.
    socket.ok("new", json!({ "roomId": room, "msg": "Zoe\u{308}" })).await;
    let is_new = |data: &Value| {
        data["joined"][0]["name"].as_str().is_some_and(|name| name.starts_with("Zo"))
    };
    let renamed = fixture.watcher.expect_where("presence", is_new).await;
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
        fixture.ada.id,
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    socket.send(&format!("4278{deep}")).await;
    assert_eq!(socket.ack(78).await["error"]["code"], "invalid-value");
    fixture.still_works().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_of_another_user_is_refused() {
    let mut fixture = Fixture::new().await;
    let mut socket = fixture.mallory.connect(&fixture.gateway).await;
    let ticket = fixture.system.ticket(&fixture.ada, fixture.room, Role::Owner);
    let join = json!({ "roomId": fixture.room, "userId": fixture.ada.id, "ticket": ticket });
    socket.refused("join-room", join, "wrong-user").await;
    fixture.still_works().await;
}

/// Sends an invalid `leave-room` until the rate limit lets it pass; returns its error code.
async fn eventually_accepted(socket: &mut Socket) -> Value {
    let accepted = async {
        loop {
            let code = socket.call("leave-room", json!({})).await["error"]["code"].clone();
            if code != "rate-limited" {
                return code;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    tokio::time::timeout(DEADLINE, accepted).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_is_acknowledged_once() {
    let mut fixture = Fixture::new().await;
    let (room, user) = (fixture.room, fixture.mallory.id);
    let mut socket = fixture.mallory().await;
    let good =
        socket.ok("send-msg", json!({ "roomId": room, "msg": "first" })).await["seq"].clone();
    let ticket = fixture.mallory.enter("lobby").await["ticket"].clone();
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
        json!(["refresh", { "token": fixture.mallory.access }]),
        json!(["room-broadcast", { "roomId": room, "msg": "x" }]),
        json!(["nothing", 1, 2, 3]),
        json!(["send-msg"]),
    ];
    // All at once and three times, so that some exceed the rate limit.
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
    // The barrier: an event behind all of them, repeated until the rate limit accepts it.
    let code = eventually_accepted(&mut socket).await;
    assert_eq!(code, "missing-field");
    assert_eq!(socket.unclaimed_acks(), 0, "no event was acknowledged twice");
    fixture.watcher.forget();
    fixture.still_works().await;
}
