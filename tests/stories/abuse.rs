//! What a hostile client does to a gateway. In each, somebody honest watches: nothing is lost, nothing
//! foreign is delivered, and the honest one goes on. More of the kind is in `bad_events` (shapes of
//! events, tokens and tickets), `limits` (floods) and `events` (removal).

use std::time::{Duration, Instant};

use protocol::{RoomId, token::Role};
use serde_json::{Value, json};
use stories::{
    Closed, Database, Gateway, Polling, Socket, User, World,
    wire::{CLOSE, CONTINUATION, FIRST_OF_TEXT, LAST, Raw, TEXT, frame},
};

struct Stage {
    world: World,
    gateway: Gateway,
    room: RoomId,
    ada: User,
    mallory: User,
    watcher: Socket,
}

impl Stage {
    async fn set() -> Self {
        Self::with(&[]).await
    }

    async fn with(variables: &[(&str, &str)]) -> Self {
        let mut world = World::new(Database::Sqlite).await;
        variables.iter().for_each(|(name, value)| world.set(name, value));
        let gateway = world.gateway().await;
        let (ada, mallory) = (world.user("ada").await, world.user("mallory").await);
        let room = ada.create_room("lobby").await;
        let (watcher, _) = ada.join(&gateway, "lobby").await;
        Self { world, gateway, room, ada, mallory, watcher }
    }

    async fn mallory(&self) -> Socket {
        self.mallory.join(&self.gateway, "lobby").await.0
    }

    /// The honest one sends, receives, and sees nothing else that was stored meanwhile.
    async fn goes_on(&mut self) {
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
async fn packets_that_break_the_protocol_close_their_socket_alone() {
    let mut stage = Stage::set().await;
    let (base, token) = (stage.gateway.base.clone(), stage.mallory.access.clone());
    for packet in [
        // Attachments without end, none, and one that is not there.
        "4599999999999-[\"send-msg\",{}]",
        "450-[\"send-msg\",{}]",
        "451-[\"send-msg\",{\"_placeholder\":true,\"num\":1}]",
        "451-[\"send-msg\",{\"_placeholder\":true,\"num\":-1}]",
        "451-[\"send-msg\",[[{\"_placeholder\":true,\"num\":18446744073709551615}]]]",
        // An acknowledgement's id that is no number.
        "42x[\"leave-room\",{}]",
        "4299999999999999999999[\"leave-room\",{}]",
        "43x[]",
        "43[]",
        // An event of a namespace that was not connected, a second connect.
        "42/admin,[\"leave-room\",{}]",
        "40{}",
    ] {
        let mut socket = Socket::connect(&base, &token).await;
        socket.send(packet).await;
        assert_eq!(socket.closed().await, Closed::Code(1002), "{packet}");
    }
    for auth in ["[]", "null", "\"x\"", "7", "{", "{}{}"] {
        let mut socket = Socket::open(&base).await;
        socket.send(&format!("40{auth}")).await;
        assert_eq!(socket.closed().await, Closed::Code(1002), "{auth}");
    }
    stage.goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_namespaces_and_idle_acknowledgements_harm_nothing() {
    let mut stage = Stage::set().await;
    let mut socket = stage.mallory().await;
    socket.send("40/admin,{\"token\":\"x\"}").await;
    socket.send("41/admin,").await;
    // Answers to nothing, twice, and with attachments.
    for packet in
        ["437[]", "437[]", "430[{\"ok\":true}]", "461-7[{\"_placeholder\":true,\"num\":0}]"]
    {
        socket.send(packet).await;
    }
    socket.send_raw(tokio_tungstenite::tungstenite::Message::binary(vec![1])).await;
    // The same ack id for two events: each is answered.
    let leave = json!(["leave-room", { "roomId": RoomId::generate() }]);
    socket.send(&format!("425{leave}")).await;
    socket.send(&format!("425{leave}")).await;
    for _ in 0..2 {
        assert_eq!(socket.ack(5).await["error"]["code"], "not-joined");
    }
    socket.ok("leave-room", json!({ "roomId": stage.room })).await;
    stage.goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_frames_end_their_socket_with_the_right_code() {
    let mut stage = Stage::set().await;
    let (base, token) = (stage.gateway.base.clone(), stage.mallory.access.clone());
    let endless = [frame(FIRST_OF_TEXT, b"4"), frame(CONTINUATION, b"").repeat(100_000)].concat();
    let growing =
        [frame(FIRST_OF_TEXT, b"4"), frame(CONTINUATION, &[b'x'; 1_000]).repeat(70)].concat();
    let mut compressed = frame(TEXT, b"3");
    compressed[0] |= 0x40;
    let mut unmasked = frame(TEXT, b"3");
    unmasked[1] &= 0x7F;
    unmasked.drain(2..6);
    let oversized = [&[TEXT, 0x80 | 127][..], &(1_u64 << 40).to_be_bytes(), &[0; 4]].concat();
    for (what, bytes, code) in [
        ("endless fragments", endless, 1008),
        ("fragments past the limit", growing, 1009),
        ("a length of a terabyte", oversized, 1009),
        ("compression that was not agreed on", compressed, 1002),
        ("no mask", unmasked, 1002),
        ("text that is not UTF-8", frame(TEXT, &[b'4', 0xFF]), 1007),
        ("an unknown opcode", frame(0x83, b""), 1002),
    ] {
        let mut raw = Raw::chatting(&base, &token).await;
        raw.write(&bytes).await;
        assert_eq!(raw.closed().await, Some(code), "{what}");
    }
    stage.goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_in_one_byte_fragments_arrives_and_one_after_a_close_does_not() {
    let mut stage = Stage::set().await;
    let (base, token) = (stage.gateway.base.clone(), stage.mallory.access.clone());
    let data = stage.mallory.join_data("lobby", None).await;
    let mut raw = Raw::chatting(&base, &token).await;
    raw.frame(TEXT, format!("420{}", json!(["join-room", data])).as_bytes()).await;
    raw.until(b"430[{\"ok\":true").await;
    let send = format!("421{}", json!(["send-msg", { "roomId": stage.room, "msg": "bit by bit" }]));
    let (first, rest) = send.as_bytes().split_first().unwrap();
    raw.frame(FIRST_OF_TEXT, &[*first]).await;
    for (index, byte) in rest.iter().enumerate() {
        let last = if index + 1 == rest.len() { LAST } else { CONTINUATION };
        for byte in frame(last, &[*byte]) {
            raw.write(&[byte]).await;
        }
    }
    raw.until(b"431[{\"ok\":true").await;
    stage.watcher.expect_where("receive-msg", |data| data["msg"] == "bit by bit").await;
    let late = format!("422{}", json!(["send-msg", { "roomId": stage.room, "msg": "too late" }]));
    raw.write(&[frame(CLOSE, &1000_u16.to_be_bytes()), frame(TEXT, late.as_bytes())].concat())
        .await;
    assert_eq!(raw.closed().await, Some(1000));
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
async fn a_slow_reader_is_told_where_to_go_on_and_misses_nothing() {
    let mut stage = Stage::with(&[
        ("LIMIT_EVENT_RATE", "0"),
        ("LIMIT_EVENT_BURST", "0"),
        ("LIMIT_MESSAGE_CHARS", "0"),
        ("PING_INTERVAL_SECONDS", "600"),
    ])
    .await;
    let (base, room) = (stage.gateway.base.clone(), stage.room);
    let data = stage.mallory.join_data("lobby", None).await;
    let mut raw = Raw::chatting(&base, &stage.mallory.access).await;
    raw.frame(TEXT, format!("420{}", json!(["join-room", data])).as_bytes()).await;
    raw.until(b"430[{\"ok\":true").await;
    // More than the buffers of two TCP sockets hold, and a megabyte besides.
    let mut sent = Vec::new();
    for _ in 0..800 {
        let data = json!({ "roomId": room, "msg": "x".repeat(25_000) });
        sent.push(stage.watcher.ok("send-msg", data).await["seq"].as_u64().unwrap());
    }
    let mut read = raw.until(b"42[\"lag\",").await;
    if !read.ends_with(b"]") {
        read.extend(raw.until(b"]").await);
    }
    let read = String::from_utf8_lossy(&read).into_owned();
    let (before, lag) = read.split_once("42[\"lag\",").unwrap();
    let lag: Value = serde_json::from_str(lag.trim_end_matches(']')).unwrap();
    let received = before.matches("\"receive-msg\"").count();
    assert!(received < sent.len());
    assert_eq!(lag, json!({ "roomId": room, "last": sent[received - 1] }), "all before has come");

    // So much is not replayed over a socket; history has it, page by page.
    let mut again = stage.mallory.connect(&stage.gateway).await;
    let join = stage.mallory.join_data("lobby", lag["last"].as_u64()).await;
    assert_eq!(again.ok("join-room", join).await["recovered"], false);
    let mut after = lag["last"].as_u64().unwrap();
    let mut paged = Vec::new();
    while after < *sent.last().unwrap() {
        let path = format!("/room/lobby/message?after={after}&limit=200");
        let page = stage.mallory.get(&path).await.ok();
        let items = page["items"].as_array().unwrap();
        paged.extend(items.iter().map(|item| item["seq"].as_u64().unwrap()));
        after = *paged.last().unwrap();
    }
    assert_eq!(paged, sent[received..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_rooms_rejoined_at_once_are_replayed_one_after_the_other() {
    let mut stage = Stage::with(&[("LIMIT_EVENT_RATE", "0"), ("LIMIT_EVENT_BURST", "0")]).await;
    let mut joins = Vec::new();
    for n in 0..20 {
        let name = format!("room-{n}");
        let room = stage.ada.create_room(&name).await;
        stage.watcher.ok("join-room", stage.ada.join_data(&name, None).await).await;
        let first = json!({ "roomId": room, "msg": "first" });
        let after = stage.watcher.ok("send-msg", first).await["seq"].as_u64();
        let mut acks = Vec::new();
        for _ in 0..100 {
            let data = json!({ "roomId": room, "msg": "한".repeat(4_000) });
            acks.push(stage.watcher.emit("send-msg", data).await);
        }
        for ack in acks {
            assert_eq!(stage.watcher.ack(ack).await["ok"], true);
        }
        joins.push(stage.mallory.join_data(&name, after).await);
    }
    // All asked for in one go, by somebody who then does not read for a while: 24 MB, which wait in
    // NATS and not in the gateway.
    let mut socket = stage.mallory.connect(&stage.gateway).await;
    let mut acks = Vec::new();
    for join in joins {
        acks.push(socket.emit("join-room", join).await);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    for ack in acks {
        assert_eq!(socket.ack(ack).await["recovered"], true);
    }
    let received = socket.stored().iter().filter(|(name, ..)| name == "receive-msg").count();
    assert_eq!(received, 20 * 100);
    stage.watcher.forget();
    stage.goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_connects_and_says_nothing_or_little_is_cut_off() {
    let mut stage = Stage::set().await;
    let base = stage.gateway.base.clone();
    let started = Instant::now();
    let mut silent = Raw::connect(&base).await;
    let mut dripping = Raw::connect(&base).await;
    dripping.write(b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nX: ").await;
    let drip = async {
        loop {
            dripping.write(b"a").await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            if started.elapsed() > Duration::from_secs(12) {
                return dripping.rest().await;
            }
        }
    };
    let (nothing, _) = tokio::join!(silent.rest(), drip);
    assert_eq!(nothing, b"");
    assert!(started.elapsed() < Duration::from_secs(15));
    // Headers without end are refused, at once.
    let mut greedy = Raw::connect(&base).await;
    greedy.write(b"GET /socket.io/ HTTP/1.1\r\n").await;
    greedy.write(format!("X: {}\r\n", "a".repeat(200_000)).as_bytes()).await;
    let answer = String::from_utf8_lossy(&greedy.rest().await).into_owned();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    stage.goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_over_http_are_nobody_elses() {
    let mut stage = Stage::set().await;
    let other = stage.world.gateway().await;
    let session = Polling::open(&stage.gateway.base, "/socket.io/").await;
    let at = |base: &str, sid: &str| {
        let url = format!("{base}/socket.io/?EIO=4&transport=polling&sid={sid}");
        stage.world.http.post(url).body("40").send()
    };
    // Another gateway, a changed secret, another place, nonsense.
    let mut changed = session.sid.clone().into_bytes();
    let last = changed.len() - 2;
    changed[last] = if changed[last] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).unwrap();
    for (base, sid) in [
        (&other.base, session.sid.as_str()),
        (&stage.gateway.base, &changed),
        (&stage.gateway.base, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        (&stage.gateway.base, "x"),
    ] {
        let answer = at(base, sid).await.unwrap();
        assert_eq!(answer.status(), 400);
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body, json!({ "code": 1, "message": "Session ID unknown" }));
    }
    // A page of another site gets nothing, nor does a body that is too big.
    let url = format!("{}/socket.io/?EIO=4&transport=polling", stage.gateway.base);
    let foreign =
        stage.world.http.get(&url).header("origin", "https://evil.example").send().await.unwrap();
    assert_eq!(foreign.status(), 403);
    assert!(!foreign.headers().contains_key("access-control-allow-origin"));
    let own = stage.world.http.get(&url).header("origin", &stage.world.base).send().await.unwrap();
    assert_eq!(own.headers()["access-control-allow-origin"], stage.world.base.as_str());
    assert_eq!(own.headers()["access-control-allow-credentials"], "true");
    assert_eq!(session.post("4".repeat(64 * 1024 + 1)).await.0, 413);
    // The session itself is as it was.
    let auth = json!({ "token": stage.mallory.access });
    assert_eq!(session.post(format!("40{auth}")).await.0, 200);
    session.until("40{\"sid\"").await;
    let join = stage.mallory.join_data("lobby", None).await;
    session.post(format!("421{}", json!(["join-room", join]))).await;
    session.until("431[{\"ok\":true").await;
    let sent =
        stage.watcher.ok("send-msg", json!({ "roomId": stage.room, "msg": "by post" })).await;
    let event = session.until("42[\"receive-msg\"").await;
    assert!(event.contains(&format!("\"seq\":{}", sent["seq"])), "{event}");
    stage.watcher.expect("receive-msg").await;
    // Logging out ends it: it is told, then there is no such session.
    stage.mallory.post("/logout", json!({})).await.ok();
    session.until("42[\"session-expired\"").await;
    let ended = stories::eventually("the session to be gone", || async {
        let (status, _) = session.get().await;
        (status == 400).then_some(())
    });
    ended.await;
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
