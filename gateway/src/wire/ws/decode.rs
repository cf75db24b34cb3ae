//! A decoder of received bytes into WebSocket messages.

use bytes::{Bytes, BytesMut};

use super::opcode::{BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT};

/// Maximum number of fragments of one message. More are a sign of abuse.
const MAX_FRAGMENTS: usize = 256;
/// Maximum length of a payload: the most significant bit of a 64-bit length must be 0.
const MAX_LENGTH: u64 = i64::MAX as u64;

/// A complete message, or a control frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    Text(String),
    Binary(Bytes),
    Ping(Bytes),
    Pong,
    /// The peer closes the connection. Its status code is valid.
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

    /// The header of the next frame, once it is complete. Refuses a frame that violates the protocol before its
    /// payload arrives.
    fn header(&self) -> Result<Option<Header>, Violation> {
        let &[first, second, ref rest @ ..] = &self.buffer[..] else { return Ok(None) };
        let (fin, opcode, short) = (first & 0x80 != 0, first & 0x0F, second & 0x7F);
        if first & 0x70 != 0 {
            return Err(protocol_error("reserved bits without an extension"));
        }
        if second & 0x80 == 0 {
            return Err(protocol_error("a client's frame must be masked"));
        }
        self.check_opcode(opcode, fin, short)?;
        let (length, least, length_size) = match (short, rest) {
            (126, &[a, b, ..]) => (u64::from(u16::from_be_bytes([a, b])), 126, 2),
            (127, &[a, b, c, d, e, f, g, h, ..]) => {
                (u64::from_be_bytes([a, b, c, d, e, f, g, h]), 0x1_0000, 8)
            }
            (126 | 127, _) => return Ok(None),
            (short, _) => (u64::from(short), 0, 0),
        };
        if length < least || length > MAX_LENGTH {
            return Err(protocol_error("a length must have its shortest form and at most 63 bits"));
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

    /// Checks the first two bytes of a frame. `short` is the length in the second one.
    fn check_opcode(&self, opcode: u8, fin: bool, short: u8) -> Result<(), Violation> {
        match (opcode, &self.partial) {
            (CLOSE | PING | PONG, _) if fin && short <= 125 => Ok(()),
            (CLOSE | PING | PONG, _) => Err(protocol_error("a control frame is short and whole")),
            (TEXT | BINARY, None) => Ok(()),
            (TEXT | BINARY, Some(_)) => Err(protocol_error("a new message inside another")),
            (CONTINUATION, None) => Err(protocol_error("a continuation of nothing")),
            (CONTINUATION, Some(partial)) if partial.fragments < MAX_FRAGMENTS => Ok(()),
            (CONTINUATION, Some(_)) => Err(Violation { code: 1008, reason: "too many fragments" }),
            _ => Err(protocol_error("an unknown opcode")),
        }
    }

    /// The message that a frame completes.
    fn frame(&mut self, header: &Header, payload: BytesMut) -> Result<Option<Message>, Violation> {
        match header.opcode {
            PING => return Ok(Some(Message::Ping(payload.freeze()))),
            PONG => return Ok(Some(Message::Pong)),
            CLOSE => return check_close(&payload).map(|()| Some(Message::Close)),
            _ => {}
        }
        let message = match self.partial.take() {
            None => Partial { opcode: header.opcode, fragments: 1, payload },
            Some(mut partial) => {
                partial.fragments += 1;
                partial.payload.extend_from_slice(&payload);
                partial
            }
        };
        if header.fin {
            return whole(message.opcode, message.payload).map(Some);
        }
        self.partial = Some(message);
        Ok(None)
    }
}

/// Checks the payload of a close frame: nothing, or a status code and a reason (RFC 6455, section 5.5.1).
fn check_close(payload: &[u8]) -> Result<(), Violation> {
    match payload {
        [] => Ok(()),
        [_] => Err(protocol_error("a close code has two bytes")),
        &[high, low, ref reason @ ..] => match u16::from_be_bytes([high, low]) {
            1000..=1003 | 1007..=1014 | 3000..=4999 => match str::from_utf8(reason) {
                Ok(_) => Ok(()),
                Err(_) => Err(Violation { code: 1007, reason: "a close reason that is not UTF-8" }),
            },
            _ => Err(protocol_error("an invalid close code")),
        },
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
#[path = "decode_tests.rs"]
mod tests;
