//! What the generator says on a connection: Socket.IO in a WebSocket, or NATS.

use std::{net::SocketAddr, ops::Range};

use memchr::memchr;

/// How a server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Socket.IO 5 in Engine.IO 4 over a WebSocket.
    SocketIo,
    /// NATS's own text protocol, publish and subscribe.
    Nats,
    /// The same, as a gateway speaks it: published into a stream, acknowledged, republished.
    JetStream,
}

/// A piece of what a server sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// It has yet to arrive as a whole.
    Incomplete,
    /// A message at this place, and where the next piece begins.
    Message(Range<usize>, usize),
    /// Nothing of interest, up to here.
    Skip(usize),
}

impl Dialect {
    /// The first bytes on a new connection.
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

    /// Puts a text into its frame. The mask of a client's WebSocket frame is zero, which RFC 6455
    /// allows a program and which costs neither side anything.
    pub fn frame(self, text: &str, out: &mut Vec<u8>) {
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

    /// Finds the next piece of `bytes`; `opened` once the handshake is over.
    pub fn next(self, bytes: &[u8], opened: bool) -> Piece {
        match self {
            Self::SocketIo if !opened => handshake(bytes),
            Self::SocketIo => frame(bytes),
            Self::Nats | Self::JetStream => line(bytes),
        }
    }
}

fn handshake(bytes: &[u8]) -> Piece {
    match memchr::memmem::find(bytes, b"\r\n\r\n") {
        Some(end) => Piece::Message(0..end, end + 4),
        None => Piece::Incomplete,
    }
}

/// A server's WebSocket frame: not masked, not fragmented.
fn frame(bytes: &[u8]) -> Piece {
    let (Some(&first), Some(&second)) = (bytes.first(), bytes.get(1)) else {
        return Piece::Incomplete;
    };
    let (header, length) = match (second & 0x7f, bytes.get(2..4), bytes.get(2..10)) {
        (126, Some(&[a, b]), _) => (4, usize::from(u16::from_be_bytes([a, b]))),
        (127, _, Some(eight)) => {
            let length = eight.iter().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
            (10, length)
        }
        (126 | 127, ..) => return Piece::Incomplete,
        (length, ..) => (2, usize::from(length)),
    };
    let end = header + length;
    match bytes.len() >= end {
        false => Piece::Incomplete,
        true if first & 0x0f == 1 => Piece::Message(header..end, end),
        true => Piece::Skip(end),
    }
}

/// `INFO …`, `PONG`, or `MSG <subject> <sid> [reply] <size>` with its payload.
fn line(bytes: &[u8]) -> Piece {
    let Some(end) = memchr(b'\n', bytes) else { return Piece::Incomplete };
    if !bytes.starts_with(b"MSG ") && !bytes.starts_with(b"HMSG ") {
        return Piece::Message(0..end.saturating_sub(1), end + 1);
    }
    let digits = bytes[..end - 1].iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let size = &bytes[end - 1 - digits..end - 1];
    let size = size.iter().fold(0_usize, |sum, digit| sum * 10 + usize::from(digit - b'0'));
    match bytes.len() >= end + 1 + size + 2 {
        false => Piece::Incomplete,
        true => Piece::Message(0..end + 1 + size, end + 1 + size + 2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_found_whole_or_not_at_all() {
        let short = [&[0x81, 2][..], b"hi"].concat();
        assert_eq!(Dialect::SocketIo.next(&short, true), Piece::Message(2..4, 4));
        assert_eq!(Dialect::SocketIo.next(&short[..3], true), Piece::Incomplete);
        let long = [&[0x81, 126, 1, 0][..], &[b'x'; 256]].concat();
        assert_eq!(Dialect::SocketIo.next(&long, true), Piece::Message(4..260, 260));
        assert_eq!(Dialect::SocketIo.next(&[0x89, 0], true), Piece::Skip(2));
        let answer = b"HTTP/1.1 101 x\r\n\r\nrest";
        assert_eq!(Dialect::SocketIo.next(answer, false), Piece::Message(0..14, 18));
        assert_eq!(
            Dialect::Nats.next(b"MSG a 1 3\r\nabc\r\nPONG", true),
            Piece::Message(0..14, 16)
        );
        assert_eq!(Dialect::Nats.next(b"MSG a 1 3\r\nab", true), Piece::Incomplete);
        assert_eq!(Dialect::Nats.next(b"PONG\r\n", true), Piece::Message(0..4, 6));
    }

    #[test]
    fn frames_are_masked_with_zero() {
        let mut out = Vec::new();
        Dialect::SocketIo.frame("40", &mut out);
        assert_eq!(out, [0x81, 0x82, 0, 0, 0, 0, b'4', b'0']);
    }
}
