//! Packets, frames and requests that a hostile client sends, or does not send. See `abuse`.

use std::time::{Duration, Instant};

use protocol::RoomId;
use serde_json::{Value, json};
use stories::{
    Closed, Polling, Socket,
    wire::{CLOSE, CONTINUATION, FIRST_OF_TEXT, LAST, Raw, TEXT, frame},
};

use super::hostile_client::Stage;

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
async fn a_slow_reader_is_told_where_to_go_on_and_misses_nothing() {
    let mut stage = Stage::with(&[
        ("LIMIT_EVENT_RATE", "0"),
        ("LIMIT_EVENT_BURST", "0"),
        ("LIMIT_USER_EVENT_RATE", "0"),
        ("LIMIT_ROOM_EVENT_RATE", "0"),
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
    let mut stage = Stage::with(&[
        ("LIMIT_EVENT_RATE", "0"),
        ("LIMIT_EVENT_BURST", "0"),
        ("LIMIT_USER_EVENT_RATE", "0"),
        ("LIMIT_ROOM_EVENT_RATE", "0"),
    ])
    .await;
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
async fn connecting_again_and_again_ends_the_socket() {
    let mut stage = Stage::set().await;
    let auth = json!({ "token": stage.mallory.access });
    // Each is a signature to verify; good ones are left again, bad ones refused.
    for packets in
        [vec![format!("40{auth}"), "41".to_owned()], vec!["40{\"token\":\"x\"}".to_owned()]]
    {
        let mut socket = Socket::open(&stage.gateway.base).await;
        for _ in 0..50 {
            for packet in &packets {
                socket
                    .send_raw(tokio_tungstenite::tungstenite::Message::text(packet.clone()))
                    .await;
            }
        }
        assert_eq!(socket.closed().await, Closed::Code(1008));
    }
    stage.goes_on().await;
}
