use proptest::prelude::*;
use tungstenite::protocol::frame::{
    Frame, FrameHeader,
    coding::{Data, OpCode},
};

use super::*;

/// A client's frame as written by another implementation.
fn client_frame(opcode: OpCode, fin: bool, payload: &[u8]) -> Vec<u8> {
    let mut frame = Frame::message(payload.to_vec(), opcode, fin);
    *frame.header_mut() = FrameHeader { mask: Some([1, 2, 3, 250]), ..frame.header().clone() };
    let mut bytes = Vec::new();
    frame.format(&mut bytes).unwrap();
    bytes
}

fn decode(max: usize, bytes: &[u8], chunk: usize) -> Result<Vec<Message>, Violation> {
    let mut decoder = Decoder::new(max);
    let mut messages = Vec::new();
    for bytes in bytes.chunks(chunk.max(1)) {
        decoder.feed(bytes);
        while let Some(message) = decoder.message()? {
            messages.push(message);
        }
    }
    Ok(messages)
}

#[test]
fn violations_have_their_close_codes() {
    let text = |payload: &[u8]| client_frame(OpCode::Data(Data::Text), true, payload);
    let open = client_frame(OpCode::Data(Data::Text), false, b"a");
    let more = client_frame(OpCode::Data(Data::Continue), false, b"");
    let mut unmasked = text(b"x");
    unmasked[1] &= 0x7F;
    let mut compressed = text(b"x");
    compressed[0] |= 0x40;
    for (bytes, code) in [
        (text(&[0xFF]), 1007),
        (text(&[b'x'; 17]), 1009),
        (
            [&open[..], &client_frame(OpCode::Data(Data::Continue), true, &[b'x'; 16])].concat(),
            1009,
        ),
        (unmasked, 1002),
        (compressed, 1002),
        (more.clone(), 1002),
        ([&open[..], &open].concat(), 1002),
        ([&open[..], &more.repeat(MAX_FRAGMENTS)].concat(), 1008),
        (vec![0x83, 0x80, 0, 0, 0, 0], 1002),
        (vec![0x09, 0x80, 0, 0, 0, 0], 1002),
        // A length of 2^62 is refused as soon as the header is received.
        (vec![0x82, 0xFF, 0x40, 0, 0, 0, 0, 0, 0, 0], 1009),
    ] {
        let violation = decode(16, &bytes, usize::MAX).unwrap_err();
        assert_eq!(violation.code, code, "{bytes:?}");
    }
}

/// A frame of any first byte, masked with zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length @ 126..=0xFFFF => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

fn text(text: &str) -> Message {
    Message::Text(text.to_owned())
}

/// Frames, encoded one after the other.
fn frames(list: &[(u8, &[u8])]) -> Vec<u8> {
    list.iter().flat_map(|(first, payload)| frame(*first, payload)).collect()
}

/// A close frame with a code and a reason.
fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(0x88, &[&code.to_be_bytes(), reason].concat())
}

/// Decodes the same bytes in pieces of several sizes.
fn decoded(case: &str, bytes: &[u8]) -> Result<Vec<Message>, u16> {
    let whole = decode(1 << 20, bytes, bytes.len()).map_err(|violation| violation.code);
    for chunk in [1, 2, 7, 997].into_iter().filter(|chunk| bytes.len() / chunk < 10_000) {
        let pieces = decode(1 << 20, bytes, chunk).map_err(|violation| violation.code);
        assert_eq!(pieces, whole, "case {case} in pieces of {chunk}");
    }
    whole
}

const FRAGMENT: u8 = TEXT;
const LAST: u8 = 0x80 | CONTINUATION;
const WHOLE_TEXT: u8 = 0x80 | TEXT;
const WHOLE_PING: u8 = 0x80 | PING;
const WHOLE_PONG: u8 = 0x80 | PONG;

/// The cases of the Autobahn test suite in which a frame is invalid whatever its payload is. The header of that
/// frame, which is the last one, is enough to refuse it.
#[test]
fn autobahn_cases_refused_at_the_header() {
    let mut cases = vec![
        ("2.5".to_owned(), frame(WHOLE_PING, &[0xFE; 126])),
        ("5.1".to_owned(), frame(PING, b"x")),
        ("5.2".to_owned(), frame(PONG, b"x")),
        ("5.15".to_owned(), frames(&[(FRAGMENT, b"a"), (LAST, b"b"), (CONTINUATION, b"c")])),
        ("5.18".to_owned(), frames(&[(FRAGMENT, b"a"), (WHOLE_TEXT, b"b")])),
        ("7.3.6".to_owned(), close(1000, &[b'x'; 124])),
        (
            "a binary fragment inside a message".to_owned(),
            frames(&[(0x80 | BINARY, b""), (BINARY, b"a"), (BINARY, b"b")]),
        ),
        ("a pong of 126 bytes".to_owned(), frame(WHOLE_PONG, &[0; 126])),
        ("a fragmented close".to_owned(), frame(CLOSE, &[])),
        (
            "a 16-bit length of 125".to_owned(),
            [&[0x82, 0xFE, 0, 125, 0, 0, 0, 0][..], &[1; 125]].concat(),
        ),
        (
            "a 64-bit length of 3".to_owned(),
            vec![0x81, 0xFF, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 1, 2, 3],
        ),
        (
            "a 64-bit length of 65,535".to_owned(),
            vec![0x82, 0xFF, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0, 0, 0],
        ),
        ("a length of 64 bits".to_owned(), vec![0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]),
    ];
    for (case, rsv, opcode) in [
        (1, 4, TEXT),
        (2, 2, TEXT),
        (3, 1, TEXT),
        (4, 5, TEXT),
        (5, 3, BINARY),
        (6, 6, PING),
        (7, 7, CLOSE),
    ] {
        cases.push((format!("3.{case}"), frame(0x80 | rsv << 4 | opcode, b"")));
    }
    for (group, opcodes) in [(1, 3..=7), (2, 0xB..=0xF)] {
        for (case, opcode) in (1..).zip(opcodes) {
            cases.push((format!("4.{group}.{case}"), frame(0x80 | opcode, b"x")));
        }
    }
    for (case, fin) in (9..=14).zip([true, true, true, false, false, false]) {
        let first = if fin { LAST } else { CONTINUATION };
        cases.push((format!("5.{case}"), frame(first, b"non-continuation payload")));
    }
    for (case, mut bytes) in cases {
        assert_eq!(decoded(&case, &bytes), Err(1002), "case {case}");
        let length = usize::from(bytes[1] & 0x7F);
        if length <= 125 && bytes.len() == 6 + length {
            bytes.truncate(2);
            assert_eq!(decoded(&case, &bytes), Err(1002), "the header of case {case}");
        }
    }
}

/// The cases about close frames.
#[test]
fn autobahn_cases_about_closing() {
    for (case, bytes, expected) in [
        ("7.3.1", frame(0x88, b""), Ok(())),
        ("7.3.2", frame(0x88, b"a"), Err(1002)),
        ("7.3.3", close(1000, b""), Ok(())),
        ("7.3.4", close(1000, b"Hello World!"), Ok(())),
        ("7.3.5", close(1000, &[b'*'; 123]), Ok(())),
        (
            "7.5.1",
            close(1000, b"\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xED\xA0\x80edited"),
            Err(1007),
        ),
        ("a reason that ends inside a character", close(1001, b"\xE2\x82"), Err(1007)),
        ("an invalid code and reason", close(1006, b"\xFF"), Err(1002)),
    ] {
        let expected = expected.map(|()| vec![Message::Close]);
        assert_eq!(decoded(case, &bytes), expected, "case {case}");
    }
    // 7.7.1 to 7.7.13, 7.9.1 to 7.9.9, 7.13.1 and 7.13.2, and all other codes.
    for code in 0..=u16::MAX {
        let is_valid = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        let expected = if is_valid { Ok(vec![Message::Close]) } else { Err(1002) };
        assert_eq!(
            decode(64, &close(code, b""), 8).map_err(|error| error.code),
            expected,
            "{code}"
        );
    }
}

/// The cases whose messages are echoed, and those about UTF-8.
#[test]
fn autobahn_cases_about_messages() {
    let ping = |payload: &'static [u8]| Message::Ping(Bytes::from_static(payload));
    for (case, bytes, expected) in [
        ("2.1", frame(WHOLE_PING, b""), Ok(vec![ping(b"")])),
        ("2.3", frame(WHOLE_PING, b"\x00\xFF\xFE"), Ok(vec![ping(b"\x00\xFF\xFE")])),
        ("2.7", frame(WHOLE_PONG, b""), Ok(vec![Message::Pong])),
        (
            "2.9",
            frames(&[(WHOLE_PONG, b"x"), (WHOLE_PING, b"y")]),
            Ok(vec![Message::Pong, ping(b"y")]),
        ),
        (
            "5.3",
            frames(&[(FRAGMENT, b"fragment1"), (LAST, b"fragment2")]),
            Ok(vec![text("fragment1fragment2")]),
        ),
        (
            "5.6",
            frames(&[(FRAGMENT, b"a"), (WHOLE_PING, b"p"), (LAST, b"b")]),
            Ok(vec![ping(b"p"), text("ab")]),
        ),
        (
            "5.19",
            frames(&[
                (FRAGMENT, b"1"),
                (CONTINUATION, b"2"),
                (WHOLE_PING, b"p"),
                (CONTINUATION, b"3"),
                (LAST, b"4"),
            ]),
            Ok(vec![ping(b"p"), text("1234")]),
        ),
        ("6.1.1", frame(WHOLE_TEXT, b""), Ok(vec![text("")])),
        (
            "6.1.3",
            frames(&[(FRAGMENT, b""), (CONTINUATION, b"middle"), (LAST, b"")]),
            Ok(vec![text("middle")]),
        ),
        // A character that is split between fragments is valid.
        ("6.2.3", frames(&[(FRAGMENT, b"\xCE"), (LAST, b"\xBA")]), Ok(vec![text("κ")])),
        ("6.3.1", frame(WHOLE_TEXT, b"\xCE\xBA\xED\xA0\x80edited"), Err(1007)),
        (
            "6.3.2",
            frames(&[(FRAGMENT, b"\xCE"), (CONTINUATION, b"\xED\xA0"), (LAST, b"\x80")]),
            Err(1007),
        ),
        (
            "6.4.1",
            frames(&[(FRAGMENT, b"\xF4"), (CONTINUATION, b"\x90"), (LAST, b"\x80\x80")]),
            Err(1007),
        ),
        ("6.7.4", frame(WHOLE_TEXT, b"\xF4\x8F\xBF\xBF"), Ok(vec![text("\u{10FFFF}")])),
        ("6.8.1", frame(WHOLE_TEXT, b"\xF8\x88\x80\x80\x80"), Err(1007)),
        ("6.12.8", frame(WHOLE_TEXT, b"\x80\xBF"), Err(1007)),
        ("6.14.1", frame(WHOLE_TEXT, b"\xC0"), Err(1007)),
        ("6.18.1", frame(WHOLE_TEXT, b"\xC1\xBF"), Err(1007)),
        ("6.21.1", frame(WHOLE_TEXT, b"\xED\xA0\x80"), Err(1007)),
        ("6.22.2", frame(WHOLE_TEXT, b"\xEF\xBF\xBF"), Ok(vec![text("\u{FFFF}")])),
    ] {
        assert_eq!(decoded(case, &bytes), expected, "case {case}");
    }
}

/// The lengths of 1.1.1 to 1.2.8, at which the form of the header changes, and the number of fragments in 9.3.1.
#[test]
fn autobahn_cases_about_lengths_and_fragments() {
    for length in [0, 125, 126, 127, 128, 65_535, 65_536] {
        let payload = vec![b'*'; length];
        let bytes = frames(&[(WHOLE_TEXT, &payload), (0x80 | BINARY, &payload)]);
        let expected = vec![text(&"*".repeat(length)), Message::Binary(payload.into())];
        assert_eq!(decoded("1", &bytes), Ok(expected), "{length} bytes");
    }
    // The limit is stricter than the suite.
    let fragments = |count| {
        frames(
            &[&[(FRAGMENT, &b"x"[..])][..], &vec![(CONTINUATION, &b"x"[..]); count - 1]].concat(),
        )
    };
    assert_eq!(decoded("9.3", &fragments(MAX_FRAGMENTS)), Ok(vec![]));
    assert_eq!(decoded("9.3.1", &fragments(MAX_FRAGMENTS + 1)), Err(1008));
}

proptest! {
    #[test]
    fn what_another_implementation_sends_arrives(text in ".{0,200}", cut in 0..200_usize, chunk in 1..40_usize) {
        let bytes = text.as_bytes();
        let cut = cut.min(bytes.len());
        let frames = [
            client_frame(OpCode::Data(Data::Text), false, &bytes[..cut]),
            client_frame(OpCode::Data(Data::Continue), true, &bytes[cut..]),
            client_frame(OpCode::Data(Data::Binary), true, bytes),
        ].concat();
        let expected = vec![Message::Text(text.clone()), Message::Binary(Bytes::copy_from_slice(bytes))];
        prop_assert_eq!(decode(4096, &frames, chunk), Ok(expected));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, chunk in 1..20_usize) {
        let _ = decode(64, &bytes, chunk);
    }
}
