//! Packets and frames that break the protocols.

use protocol::RoomId;
use serde_json::json;
use stories::{
    Closed, Socket,
    engine_io::{CLOSE, CONTINUATION, FIRST_OF_TEXT, LAST, RawWebSocket, TEXT, frame},
};

use super::hostile_client::Fixture;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_packets_close_only_their_socket() {
    let mut fixture = Fixture::new().await;
    let (base, token) = (fixture.gateway.base.clone(), fixture.mallory.access.clone());
    for packet in [
        // Too many attachments, none, and a missing one.
        "4599999999999-[\"send-msg\",{}]",
        "450-[\"send-msg\",{}]",
        "451-[\"send-msg\",{\"_placeholder\":true,\"num\":1}]",
        "451-[\"send-msg\",{\"_placeholder\":true,\"num\":-1}]",
        "451-[\"send-msg\",[[{\"_placeholder\":true,\"num\":18446744073709551615}]]]",
        // An acknowledgement id that is not a number.
        "42x[\"leave-room\",{}]",
        "4299999999999999999999[\"leave-room\",{}]",
        "43x[]",
        "43[]",
        // An event of a namespace that is not connected, and a second connect.
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
    fixture.still_works().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_namespaces_and_acknowledgements_are_ignored() {
    let mut fixture = Fixture::new().await;
    let mut socket = fixture.mallory().await;
    socket.send("40/admin,{\"token\":\"x\"}").await;
    socket.send("41/admin,").await;
    // Acknowledgements of nothing, twice, and with attachments.
    for packet in
        ["437[]", "437[]", "430[{\"ok\":true}]", "461-7[{\"_placeholder\":true,\"num\":0}]"]
    {
        socket.send(packet).await;
    }
    socket.send_raw(tokio_tungstenite::tungstenite::Message::binary(vec![1])).await;
    // Two events with the same acknowledgement id: each is acknowledged.
    let leave = json!(["leave-room", { "roomId": RoomId::generate() }]);
    socket.send(&format!("425{leave}")).await;
    socket.send(&format!("425{leave}")).await;
    for _ in 0..2 {
        assert_eq!(socket.ack(5).await["error"]["code"], "not-joined");
    }
    socket.ok("leave-room", json!({ "roomId": fixture.room })).await;
    fixture.still_works().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_frames_close_the_socket_with_a_code() {
    let mut fixture = Fixture::new().await;
    let (base, token) = (fixture.gateway.base.clone(), fixture.mallory.access.clone());
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
        let mut raw = RawWebSocket::authenticated(&base, &token).await;
        raw.write(&bytes).await;
        assert_eq!(raw.closed().await, Some(code), "{what}");
    }
    fixture.still_works().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_byte_fragments_arrive_and_data_after_a_close_does_not() {
    let mut fixture = Fixture::new().await;
    let (base, token) = (fixture.gateway.base.clone(), fixture.mallory.access.clone());
    let data = fixture.mallory.join_data("lobby", None).await;
    let mut raw = RawWebSocket::authenticated(&base, &token).await;
    raw.frame(TEXT, format!("420{}", json!(["join-room", data])).as_bytes()).await;
    raw.until(b"430[{\"ok\":true").await;
    let send =
        format!("421{}", json!(["send-msg", { "roomId": fixture.room, "msg": "bit by bit" }]));
    let (first, rest) = send.as_bytes().split_first().unwrap();
    raw.frame(FIRST_OF_TEXT, &[*first]).await;
    for (index, byte) in rest.iter().enumerate() {
        let last = if index + 1 == rest.len() { LAST } else { CONTINUATION };
        for byte in frame(last, &[*byte]) {
            raw.write(&[byte]).await;
        }
    }
    raw.until(b"431[{\"ok\":true").await;
    fixture.watcher.expect_where("receive-msg", |data| data["msg"] == "bit by bit").await;
    let late = format!("422{}", json!(["send-msg", { "roomId": fixture.room, "msg": "too late" }]));
    raw.write(&[frame(CLOSE, &1000_u16.to_be_bytes()), frame(TEXT, late.as_bytes())].concat())
        .await;
    assert_eq!(raw.closed().await, Some(1000));
    fixture.still_works().await;
}
