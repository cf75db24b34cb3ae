//! Payloads of HTTP long-polling: several Engine.IO packets in one body.
//!
//! <https://github.com/socketio/engine.io-protocol>, "Packet encoding": packets are separated by
//! U+001E; a binary one is `b` and base64. Towards the client the same frames are used that go to
//! WebSockets, without their headers, so that nothing above knows of the difference.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;

use super::ws::{self, Message, Violation, protocol_error};

/// U+001E, RECORD SEPARATOR.
const SEPARATOR: char = '\u{1e}';
/// A body that grows past this is sent; the next poll brings the rest.
const FULL: usize = 256 * 1024;

/// Reads a client's body as the messages that a WebSocket would have brought.
pub fn decode(body: &str) -> impl Iterator<Item = Result<Message, Violation>> {
    body.split(SEPARATOR).map(|packet| match packet.strip_prefix('b') {
        Some(base64) => BASE64_STANDARD
            .decode(base64)
            .map(|bytes| Message::Binary(Bytes::from(bytes)))
            .map_err(|_| protocol_error("binary that is not base64")),
        None => Ok(Message::Text(packet.to_owned())),
    })
}

/// Puts frames of ours into a body.
#[derive(Debug, Default)]
pub struct Encoder {
    body: String,
    /// Bytes of the frames that are in it.
    taken: usize,
}

impl Encoder {
    /// Adds the whole frames that `slice` begins with. False once the body takes no more.
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
                // The official client drops the events of a body that closes the session: the close
                // is the next poll's answer.
                ws::ServerFrame::Close if !self.body.is_empty() => return false,
                ws::ServerFrame::Close => self.packet("1"),
                // An answer to a WebSocket's own ping; there is none here.
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

    /// The body, and how many bytes of frames are in it; none without a packet.
    pub fn finish(self) -> Option<(String, usize)> {
        (self.taken > 0).then_some((self.body, self.taken))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_examples_of_the_protocols_document() {
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
    fn a_close_has_a_body_of_its_own() {
        let (text, close) = (ws::text(&["4the last event"]), ws::close(1000, "bye"));
        let mut encoder = Encoder::default();
        assert!(!encoder.add(&[&text[..], &close].concat()));
        assert_eq!(encoder.finish(), Some(("4the last event".to_owned(), text.len())));
        let mut encoder = Encoder::default();
        assert!(encoder.add(&close));
        assert_eq!(encoder.finish(), Some(("1".to_owned(), close.len())));
    }

    proptest! {
        /// However the frames lie in memory, a client reads them in order, over one body or many.
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
