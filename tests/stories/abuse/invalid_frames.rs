//! Frames that RFC 6455 forbids, and binary data where no event takes any.

use serde_json::json;
use stories::engine_io::{
    BINARY, CLOSE, CONTINUATION, FIRST_OF_TEXT, LAST, PING, RawWebSocket, TEXT, frame,
};

use super::hostile_client::Fixture;

/// A close frame with a code and a reason.
fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(CLOSE, &[&code.to_be_bytes(), reason].concat())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn close_frames_are_checked() {
    let mut fixture = Fixture::new().await;
    let base = fixture.gateway.base.clone();
    let mut cases = vec![
        (frame(CLOSE, b""), 1000),
        (frame(CLOSE, b"\x03"), 1002),
        (close(1000, "안녕".as_bytes()), 1000),
        (close(1000, &[b'x'; 123]), 1000),
        (close(1000, &[b'x'; 124]), 1002),
        (close(1000, b"\xED\xA0\x80"), 1007),
        (close(4000, b"\xC3"), 1007),
    ];
    let valid = [1001, 1002, 1003, 1007, 1011, 1012, 1014, 3000, 3999, 4000, 4999];
    let invalid = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65_535];
    cases.extend(valid.map(|code| (close(code, b""), 1000)));
    cases.extend(invalid.map(|code| (close(code, b"bye"), 1002)));
    for (bytes, code) in cases {
        let mut raw = RawWebSocket::session(&base).await;
        raw.write(&bytes).await;
        assert_eq!(raw.closed().await, Some(code), "{bytes:?}");
    }
    fixture.still_works().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_headers_are_refused_before_their_payload() {
    let mut fixture = Fixture::new().await;
    let base = fixture.gateway.base.clone();
    /// The header of a frame of 16,000 bytes, which never come.
    fn long(first: u8) -> Vec<u8> {
        vec![first, 0x80 | 126, 0x3E, 0x80, 0, 0, 0, 0]
    }
    let begun = frame(FIRST_OF_TEXT, b"4");
    let mut cases: Vec<Vec<u8>> = [3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF]
        .map(|opcode| long(LAST | opcode))
        .into_iter()
        .collect();
    cases.extend([0x10, 0x20, 0x40, 0x70].map(|rsv| long(TEXT | rsv)));
    cases.extend([
        long(LAST),
        long(CONTINUATION),
        [&begun[..], &long(TEXT)].concat(),
        [&begun[..], &long(FIRST_OF_TEXT)].concat(),
        [&begun[..], &long(BINARY)].concat(),
        // Control frames that are long or fragmented.
        long(PING),
        long(CLOSE),
        vec![PING & 0x0F, 0x80, 0, 0, 0, 0],
        vec![CLOSE & 0x0F, 0x85, 0, 0, 0, 0],
        // Lengths that are not in the shortest form, and one of 64 bits.
        vec![TEXT, 0x80 | 126, 0, 125, 0, 0, 0, 0],
        vec![TEXT, 0x80 | 126, 0, 0, 0, 0, 0, 0],
        vec![BINARY, 0x80 | 127, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0, 0, 0],
        vec![BINARY, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0, 126, 0, 0, 0, 0],
        vec![BINARY, 0x80 | 127, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ]);
    for bytes in cases {
        let mut raw = RawWebSocket::session(&base).await;
        raw.write(&bytes).await;
        assert_eq!(raw.closed().await, Some(1002), "{bytes:X?}");
    }
    fixture.still_works().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn binary_in_base64_is_refused_and_keeps_the_socket() {
    let mut fixture = Fixture::new().await;
    let mut socket = fixture.mallory().await;
    let room = fixture.room;
    let placeholder = json!({ "_placeholder": true, "num": 0 });
    let with = json!(["send-msg", { "roomId": room, "msg": placeholder }]);
    let without = json!(["send-msg", { "roomId": room, "msg": "x" }]);
    for (id, event, attachments) in [
        (901, &with, &["bAQIDBA=="][..]),
        (902, &with, &["bAQIDBA"]),
        (903, &with, &["b"]),
        (904, &without, &["bAQID"]),
        (905, &without, &["b+/+/", "bAA==", "b"]),
    ] {
        socket.send(&format!("45{}-{id}{event}", attachments.len())).await;
        for attachment in attachments {
            // A heartbeat may come between an event and its attachments.
            socket.send("3").await;
            socket.send(attachment).await;
        }
        let ack = socket.ack(id).await;
        assert_eq!(ack["error"]["code"], "unexpected-binary", "{attachments:?}");
    }
    // Base64 and a binary frame are the same.
    socket.send(&format!("452-906{without}")).await;
    socket.send("bAQID").await;
    socket.send_raw(tokio_tungstenite::tungstenite::Message::binary(vec![1])).await;
    assert_eq!(socket.ack(906).await["error"]["code"], "unexpected-binary");
    socket.ok("leave-room", json!({ "roomId": room })).await;
    fixture.still_works().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn binary_that_nothing_announced_is_a_violation_in_either_form() {
    let mut fixture = Fixture::new().await;
    let (base, token) = (fixture.gateway.base.clone(), fixture.mallory.access.clone());
    for bytes in [
        frame(TEXT, b"bAQID"),
        frame(TEXT, b"b!"),
        frame(BINARY, b"\x01"),
        // A message where an attachment belongs.
        [frame(TEXT, b"451-[\"send-msg\",{}]"), frame(TEXT, b"42[\"leave-room\",{}]")].concat(),
    ] {
        let mut raw = RawWebSocket::authenticated(&base, &token).await;
        raw.write(&bytes).await;
        assert_eq!(raw.closed().await, Some(1002), "{bytes:?}");
    }
    fixture.still_works().await;
}
