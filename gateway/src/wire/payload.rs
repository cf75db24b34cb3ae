//! Payloads of HTTP long-polling: several Engine.IO packets in one body.
//!
//! <https://github.com/socketio/engine.io-protocol>, "Packet encoding": packets are separated by U+001E; a
//! binary one is `b` and base64. Bodies for a client contain the same frames as a WebSocket, without their
//! headers, so that the code above this module is the same for both transports.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;

use super::ws::{self, Message, Violation, protocol_error};

/// U+001E, RECORD SEPARATOR.
const SEPARATOR: char = '\u{1e}';
/// Size from which a body is sent. The remaining packets follow with the next poll.
const FULL: usize = 256 * 1024;

/// Decodes a client's body into the messages that a WebSocket would have received.
pub fn decode(body: &str) -> impl Iterator<Item = Result<Message, Violation>> {
    body.split(SEPARATOR).map(|packet| match packet.strip_prefix('b') {
        Some(base64) => BASE64_STANDARD
            .decode(base64)
            .map(|bytes| Message::Binary(Bytes::from(bytes)))
            .map_err(|_| protocol_error("binary that is not base64")),
        None => Ok(Message::Text(packet.to_owned())),
    })
}

/// Encodes a server's frames into a body.
#[derive(Debug, Default)]
pub struct Encoder {
    body: String,
    /// Bytes of the frames in the body.
    taken: usize,
}

impl Encoder {
    /// Adds the complete frames at the start of `slice`. False once the body is full.
    pub fn add(&mut self, mut slice: &[u8]) -> bool {
        while let Some((frame, rest)) = ws::split_frame(slice) {
            if self.body.len() >= FULL {
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
                ws::ServerFrame::Close if !self.body.is_empty() => return false,
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
        if !self.body.is_empty() {
            self.body.push(SEPARATOR);
        }
        self.body.push_str(start);
    }

    /// The body, with the bytes of the frames in it; none if it is empty.
    pub fn finish(self) -> Option<(String, usize)> {
        (self.taken > 0).then_some((self.body, self.taken))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_examples_of_the_protocol_document_are_decoded() {
        let messages: Vec<_> = decode("4hello\u{1e}2\u{1e}bAQIDBA==").map(Result::unwrap).collect();
        let expected = [
            Message::Text("4hello".into()),
            Message::Text("2".into()),
            Message::Binary(Bytes::from_static(&[1, 2, 3, 4])),
        ];
        assert_eq!(messages, expected);
        assert!(decode("b!").any(|message| message.is_err()));

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

    proptest! {
        /// A client reads all frames in order, over one body or many, in whatever slices they are stored.
        #[test]
        fn frames_become_the_same_messages(
            texts in prop::collection::vec("[^\u{1e}b][^\u{1e}]{0,40}", 1..20),
            pieces in 1..4_usize,
        ) {
            let frames: Vec<Bytes> = texts.iter().map(|text| ws::text(&[text])).collect();
            let mut encoder = Encoder::default();
            for chunk in frames.chunks(frames.len().div_ceil(pieces)) {
                prop_assert!(encoder.add(&chunk.concat()));
            }
            let (body, taken) = encoder.finish().unwrap();
            prop_assert_eq!(taken, frames.concat().len());
            let read: Vec<Message> = decode(&body).map(Result::unwrap).collect();
            let sent: Vec<Message> = texts.into_iter().map(Message::Text).collect();
            prop_assert_eq!(read, sent);
        }

        #[test]
        fn arbitrary_bodies_never_panic(body in "\\PC{0,60}|[b0-9\u{1e}=A-Z]{0,60}") {
            let _ = decode(&body).count();
        }
    }
}
