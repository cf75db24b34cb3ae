//! Framing of the protocols that the load generator speaks: Socket.IO over WebSocket, and NATS.

use std::{net::SocketAddr, ops::Range};

use memchr::memchr;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireProtocol {
    /// Socket.IO 5 in Engine.IO 4 over a WebSocket.
    SocketIo,
    /// The NATS protocol with plain publish and subscribe.
    Nats,
    /// The NATS protocol with messages that are stored in a stream, acknowledged and republished, as for our gateway.
    JetStream,
}

/// Result of parsing the start of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    /// More bytes are needed.
    Incomplete,
    /// The range of a message, and the total number of bytes of its frame.
    Message(Range<usize>, usize),
    /// The number of bytes of a frame that is not a message.
    Skip(usize),
}

impl WireProtocol {
    /// The bytes that the client sends first.
    pub fn greeting(self, address: SocketAddr) -> Vec<u8> {
        match self {
            Self::SocketIo => format!(
                "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {address}\r\n\
                 Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            .into_bytes(),
            Self::Nats | Self::JetStream => Vec::new(),
        }
    }

    /// Appends a text as a frame. WebSocket frames of clients must be masked; the mask is zero, which costs neither
    /// side any work.
    pub fn encode(self, text: &str, out: &mut Vec<u8>) {
        if self == Self::SocketIo {
            out.push(0x81);
            match text.len() {
                length @ 0..126 => out.push(0x80 | length as u8),
                length => {
                    out.push(0x80 | 126);
                    out.extend_from_slice(&(length as u16).to_be_bytes());
                }
            }
            out.extend_from_slice(&[0; 4]);
        }
        out.extend_from_slice(text.as_bytes());
    }

    /// Parses the start of `bytes`. `is_open` is true after the handshake.
    pub fn parse(self, bytes: &[u8], is_open: bool) -> Parsed {
        match self {
            Self::SocketIo if !is_open => parse_handshake(bytes),
            Self::SocketIo => parse_websocket_frame(bytes),
            Self::Nats | Self::JetStream => parse_nats(bytes),
        }
    }
}

fn parse_handshake(bytes: &[u8]) -> Parsed {
    match memchr::memmem::find(bytes, b"\r\n\r\n") {
        Some(end) => Parsed::Message(0..end, end + 4),
        None => Parsed::Incomplete,
    }
}

/// Frames of servers are not masked, and here they are not fragmented.
fn parse_websocket_frame(bytes: &[u8]) -> Parsed {
    let (Some(&first), Some(&second)) = (bytes.first(), bytes.get(1)) else {
        return Parsed::Incomplete;
    };
    let (header, length) = match (second & 0x7f, bytes.get(2..4), bytes.get(2..10)) {
        (126, Some(&[a, b]), _) => (4, usize::from(u16::from_be_bytes([a, b]))),
        (127, _, Some(eight)) => {
            let length = eight.iter().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
            (10, length)
        }
        (126 | 127, ..) => return Parsed::Incomplete,
        (length, ..) => (2, usize::from(length)),
    };
    let end = header + length;
    match bytes.len() >= end {
        false => Parsed::Incomplete,
        true if first & 0x0f == 1 => Parsed::Message(header..end, end),
        true => Parsed::Skip(end),
    }
}

/// A line such as `INFO …` or `PONG`, or `MSG <subject> <sid> [reply] <size>` with its payload.
fn parse_nats(bytes: &[u8]) -> Parsed {
    let Some(end) = memchr(b'\n', bytes) else { return Parsed::Incomplete };
    if !bytes.starts_with(b"MSG ") && !bytes.starts_with(b"HMSG ") {
        return Parsed::Message(0..end.saturating_sub(1), end + 1);
    }
    let digits = bytes[..end - 1].iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let size = &bytes[end - 1 - digits..end - 1];
    let size = size.iter().fold(0_usize, |sum, digit| sum * 10 + usize::from(digit - b'0'));
    match bytes.len() >= end + 1 + size + 2 {
        false => Parsed::Incomplete,
        true => Parsed::Message(0..end + 1 + size, end + 1 + size + 2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_complete_frames_are_parsed() {
        let short = [&[0x81, 2][..], b"hi"].concat();
        assert_eq!(WireProtocol::SocketIo.parse(&short, true), Parsed::Message(2..4, 4));
        assert_eq!(WireProtocol::SocketIo.parse(&short[..3], true), Parsed::Incomplete);
        let long = [&[0x81, 126, 1, 0][..], &[b'x'; 256]].concat();
        assert_eq!(WireProtocol::SocketIo.parse(&long, true), Parsed::Message(4..260, 260));
        assert_eq!(WireProtocol::SocketIo.parse(&[0x89, 0], true), Parsed::Skip(2));
        let answer = b"HTTP/1.1 101 x\r\n\r\nrest";
        assert_eq!(WireProtocol::SocketIo.parse(answer, false), Parsed::Message(0..14, 18));
        assert_eq!(
            WireProtocol::Nats.parse(b"MSG a 1 3\r\nabc\r\nPONG", true),
            Parsed::Message(0..14, 16)
        );
        assert_eq!(WireProtocol::Nats.parse(b"MSG a 1 3\r\nab", true), Parsed::Incomplete);
        assert_eq!(WireProtocol::Nats.parse(b"PONG\r\n", true), Parsed::Message(0..4, 6));
    }

    #[test]
    fn frames_are_masked_with_zero() {
        let mut out = Vec::new();
        WireProtocol::SocketIo.encode("40", &mut out);
        assert_eq!(out, [0x81, 0x82, 0, 0, 0, 0, b'4', b'0']);
    }
}
