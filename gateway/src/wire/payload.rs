//! Payloads of HTTP long-polling: several Engine.IO packets in one body.
//!
//! <https://github.com/socketio/engine.io-protocol>, "Packet encoding": packets are separated by U+001E; a
//! binary one is `b` and base64 ([`super::packet::EnginePacket::Binary`]). Bodies for a client contain the same
//! frames as a WebSocket, without their headers, so that the code above this module is the same for both
//! transports.

use super::ws::{self, Message};
use base64::{Engine as _, prelude::BASE64_STANDARD};

/// U+001E, RECORD SEPARATOR.
const SEPARATOR: char = '\u{1e}';
/// Size from which a body is sent. The remaining packets follow with the next poll.
const FULL: usize = 256 * 1024;
/// Maximum number of packets in a body for a client. The remaining packets follow with the next poll.
/// python-engineio disconnects if a body contains more (`Payload.max_decode_packets`).
const MAX_PACKETS: usize = 16;

/// Splits a client's body into the messages that a WebSocket would have received.
pub fn decode(body: &str) -> impl Iterator<Item = Message> {
    body.split(SEPARATOR).map(|packet| Message::Text(packet.to_owned()))
}

/// Encodes a server's frames into a body.
#[derive(Debug, Default)]
pub struct Encoder {
    body: String,
    packets: usize,
    /// Bytes of the frames in the body.
    taken: usize,
}

impl Encoder {
    /// Adds the complete frames at the start of `slice`. False once the body is full.
    pub fn add(&mut self, mut slice: &[u8]) -> bool {
        while let Some((frame, rest)) = ws::split_frame(slice) {
            if self.body.len() >= FULL || self.packets >= MAX_PACKETS {
                return false;
            }
            match frame {
                ws::ServerFrame::Text(text) => self.packet(text),
                ws::ServerFrame::Binary(bytes) => {
                    self.packet("b");
                    BASE64_STANDARD.encode_string(bytes, &mut self.body);
                }
                // The official client drops the events of a body that closes the session, so a close is sent in
                // a separate body.
                ws::ServerFrame::Close if self.packets > 0 => return false,
                ws::ServerFrame::Close => self.packet("1"),
                // Long-polling has no WebSocket pings, and so no pongs.
                ws::ServerFrame::Pong => {}
            }
            self.taken += slice.len() - rest.len();
            slice = rest;
        }
        true
    }

    fn packet(&mut self, start: &str) {
        if self.packets > 0 {
            self.body.push(SEPARATOR);
        }
        self.body.push_str(start);
        self.packets += 1;
    }

    /// The body, with the bytes of the frames in it; none if it is empty.
    pub fn finish(self) -> Option<(String, usize)> {
        (self.taken > 0).then_some((self.body, self.taken))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_examples_of_the_protocol_document_are_decoded() {
        let messages: Vec<_> = decode("4hello\u{1e}2\u{1e}bAQIDBA==").collect();
        assert_eq!(messages, ["4hello", "2", "bAQIDBA=="].map(|text| Message::Text(text.into())));

        let mut encoder = Encoder::default();
        let frames = [ws::text(&["4hello"]), ws::binary(&[1, 2, 3, 4])].concat();
        assert!(encoder.add(&frames));
        let (body, taken) = encoder.finish().unwrap();
        assert_eq!((body.as_str(), taken), ("4hello\u{1e}bAQIDBA==", frames.len()));
        assert!(Encoder::default().finish().is_none());
    }

    #[test]
    fn a_close_is_alone_in_its_body() {
        let (text, close) = (ws::text(&["4the last event"]), ws::close(1000, "bye"));
        let mut encoder = Encoder::default();
        assert!(!encoder.add(&[&text[..], &close].concat()));
        assert_eq!(encoder.finish(), Some(("4the last event".to_owned(), text.len())));
        let mut encoder = Encoder::default();
        assert!(encoder.add(&close));
        assert_eq!(encoder.finish(), Some(("1".to_owned(), close.len())));
    }

    #[test]
    fn a_body_holds_at_most_16_packets() {
        let (text, pong) = (ws::text(&["4x"]), ws::pong(&Bytes::new()));
        let mut encoder = Encoder::default();
        // A pong is not a packet, and a full body is not necessarily followed by another.
        assert!(encoder.add(&[text.repeat(10), pong.to_vec()].concat()));
        assert!(encoder.add(&text.repeat(6)));
        assert!(!encoder.add(&text));
        let (body, taken) = encoder.finish().unwrap();
        assert_eq!((body, taken), (["4x"; 16].join("\u{1e}"), 16 * text.len() + pong.len()));
    }

    proptest! {
        /// A client reads all frames in order, over one body or many, in whatever slices they are stored.
        #[test]
        fn frames_become_the_same_messages(
            texts in prop::collection::vec("[^\u{1e}b][^\u{1e}]{0,40}", 1..60),
            pieces in 1..4_usize,
        ) {
            let frames: Vec<Bytes> = texts.iter().map(|text| ws::text(&[text])).collect();
            let slices: Vec<_> = frames.chunks(frames.len().div_ceil(pieces)).map(<[Bytes]>::concat).collect();
            let (mut read, mut sent) = (Vec::new(), 0);
            while sent < frames.concat().len() {
                let mut encoder = Encoder::default();
                let mut skip = sent;
                let _ = slices.iter().all(|slice| {
                    let rest = &slice[skip.min(slice.len())..];
                    skip -= slice.len() - rest.len();
                    encoder.add(rest)
                });
                let (body, taken) = encoder.finish().unwrap();
                prop_assert!(body.split(SEPARATOR).count() <= MAX_PACKETS);
                read.extend(decode(&body));
                sent += taken;
            }
            prop_assert_eq!(read, texts.into_iter().map(Message::Text).collect::<Vec<_>>());
        }

        #[test]
        fn arbitrary_bodies_never_panic(body in "\\PC{0,60}|[b0-9\u{1e}=A-Z]{0,60}") {
            let _ = decode(&body).count();
        }
    }
}
