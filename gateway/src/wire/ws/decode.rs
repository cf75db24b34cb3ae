//! A decoder of received bytes into WebSocket messages.

use bytes::{Bytes, BytesMut};

use super::opcode::{BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT};

/// Maximum number of fragments of one message. More are a sign of abuse.
const MAX_FRAGMENTS: usize = 256;

/// A complete message, or a control frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    Text(String),
    Binary(Bytes),
    Ping(Bytes),
    Pong,
    Close,
}

/// A protocol violation. The socket is closed with this code (RFC 6455, section 7.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Violation {
    pub code: u16,
    pub reason: &'static str,
}

/// A violation with the close code 1002.
pub const fn protocol_error(reason: &'static str) -> Violation {
    Violation { code: 1002, reason }
}

const TOO_BIG: Violation = Violation { code: 1009, reason: "message too big" };

/// A decoder of received bytes into WebSocket messages. Takes memory only while a message is incomplete.
#[derive(Debug)]
pub struct Decoder {
    max_message: usize,
    buffer: BytesMut,
    partial: Option<Partial>,
}

#[derive(Debug)]
struct Partial {
    opcode: u8,
    fragments: usize,
    payload: BytesMut,
}

struct Header {
    fin: bool,
    opcode: u8,
    mask: [u8; 4],
    /// Bytes of the header itself.
    size: usize,
    /// Bytes of the payload.
    length: usize,
}

impl Decoder {
    /// A decoder for messages of at most `max_message` bytes. A longer message is a violation as soon as its
    /// header is received.
    pub fn new(max_message: usize) -> Self {
        Self { max_message, buffer: BytesMut::new(), partial: None }
    }

    /// Sets the limit for messages that are not complete yet.
    pub fn set_max_message(&mut self, bytes: usize) {
        self.max_message = bytes;
    }

    /// Drops all bytes.
    pub fn clear(&mut self) {
        self.buffer = BytesMut::new();
        self.partial = None;
    }

    /// Adds bytes received from the network.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes of incomplete messages.
    pub fn held(&self) -> usize {
        self.buffer.len() + self.partial.as_ref().map_or(0, |partial| partial.payload.len())
    }

    /// The next message, once it is complete.
    pub fn message(&mut self) -> Result<Option<Message>, Violation> {
        loop {
            let Some(header) = self.header()? else { return Ok(None) };
            if self.buffer.len() < header.size + header.length {
                return Ok(None);
            }
            let mut payload = self.buffer.split_to(header.size + header.length);
            let _ = payload.split_to(header.size);
            if self.buffer.is_empty() {
                self.buffer = BytesMut::new();
            }
            for (byte, mask) in payload.iter_mut().zip(header.mask.iter().cycle()) {
                *byte ^= mask;
            }
            if let Some(message) = self.frame(&header, payload)? {
                return Ok(Some(message));
            }
        }
    }

    fn header(&self) -> Result<Option<Header>, Violation> {
        let &[first, second, ref rest @ ..] = &self.buffer[..] else { return Ok(None) };
        let (fin, opcode) = (first & 0x80 != 0, first & 0x0F);
        if first & 0x70 != 0 {
            return Err(protocol_error("reserved bits without an extension"));
        }
        if second & 0x80 == 0 {
            return Err(protocol_error("a client's frame must be masked"));
        }
        let (length, length_size) = match (second & 0x7F, rest) {
            (126, &[a, b, ..]) => (u64::from(u16::from_be_bytes([a, b])), 2),
            (127, &[a, b, c, d, e, f, g, h, ..]) => {
                (u64::from_be_bytes([a, b, c, d, e, f, g, h]), 8)
            }
            (126 | 127, _) => return Ok(None),
            (short, _) => (u64::from(short), 0),
        };
        if opcode >= CLOSE && (!fin || length > 125) {
            return Err(protocol_error("a control frame is short and whole"));
        }
        let length = usize::try_from(length).map_err(|_| TOO_BIG)?;
        let before = self.partial.as_ref().map_or(0, |partial| partial.payload.len());
        if length > self.max_message - before.min(self.max_message) && opcode < CLOSE {
            return Err(TOO_BIG);
        }
        let Some(&mask) = rest.get(length_size..).and_then(|rest| rest.first_chunk()) else {
            return Ok(None);
        };
        Ok(Some(Header { fin, opcode, mask, size: 2 + length_size + 4, length }))
    }

    fn frame(&mut self, header: &Header, payload: BytesMut) -> Result<Option<Message>, Violation> {
        match (header.opcode, self.partial.as_mut()) {
            (PING, _) => Ok(Some(Message::Ping(payload.freeze()))),
            (PONG, _) => Ok(Some(Message::Pong)),
            (CLOSE, _) => Ok(Some(Message::Close)),
            (TEXT | BINARY, None) if header.fin => whole(header.opcode, payload).map(Some),
            (TEXT | BINARY, None) => {
                self.partial = Some(Partial { opcode: header.opcode, fragments: 1, payload });
                Ok(None)
            }
            (CONTINUATION, Some(partial)) => {
                partial.fragments += 1;
                if partial.fragments > MAX_FRAGMENTS {
                    return Err(Violation { code: 1008, reason: "too many fragments" });
                }
                partial.payload.extend_from_slice(&payload);
                if !header.fin {
                    return Ok(None);
                }
                self.partial.take().map(|all| whole(all.opcode, all.payload)).transpose()
            }
            (TEXT | BINARY, Some(_)) => Err(protocol_error("a new message inside another")),
            (CONTINUATION, None) => Err(protocol_error("a continuation of nothing")),
            _ => Err(protocol_error("an unknown opcode")),
        }
    }
}

fn whole(opcode: u8, payload: BytesMut) -> Result<Message, Violation> {
    if opcode == BINARY {
        return Ok(Message::Binary(payload.freeze()));
    }
    String::from_utf8(payload.into())
        .map(Message::Text)
        .map_err(|_| Violation { code: 1007, reason: "text that is not UTF-8" })
}

#[cfg(test)]
mod tests {
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
                [&open[..], &client_frame(OpCode::Data(Data::Continue), true, &[b'x'; 16])]
                    .concat(),
                1009,
            ),
            (unmasked, 1002),
            (compressed, 1002),
            (more.clone(), 1002),
            ([&open[..], &open].concat(), 1002),
            ([&open[..], &more.repeat(MAX_FRAGMENTS)].concat(), 1008),
            (vec![0x83, 0x80, 0, 0, 0, 0], 1002),
            (vec![0x09, 0x80, 0, 0, 0, 0], 1002),
            // A length of 2^63 is refused as soon as the header is received.
            (vec![0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0], 1009),
        ] {
            let violation = decode(16, &bytes, usize::MAX).unwrap_err();
            assert_eq!(violation.code, code, "{bytes:?}");
        }
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
}
