//! Encoding of a server's frames, which are not masked and never fragmented.

use bytes::{BufMut, Bytes, BytesMut};

use super::opcode::{BINARY, CLOSE, PONG, TEXT};

/// Appends a text message. The text is given in parts to avoid a copy.
pub fn put_text(frame: &mut BytesMut, parts: &[&str]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    put_header(frame, TEXT, length);
    for part in parts {
        frame.put_slice(part.as_bytes());
    }
}

fn put_header(frame: &mut BytesMut, opcode: u8, length: usize) {
    frame.reserve(length + 10);
    frame.put_u8(0x80 | opcode);
    match length {
        0..=125 => frame.put_u8(length as u8),
        126..=0xFFFF => {
            frame.put_u8(126);
            frame.put_u16(length as u16);
        }
        _ => {
            frame.put_u8(127);
            frame.put_u64(length as u64);
        }
    }
}

/// A text message in a buffer of its size. See [`put_text`].
pub fn text(parts: &[&str]) -> Bytes {
    let mut frame = BytesMut::new();
    put_text(&mut frame, parts);
    frame.freeze()
}

/// A binary message.
pub fn binary(payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    put_header(&mut frame, BINARY, payload.len());
    frame.put_slice(payload);
    frame.freeze()
}

/// The answer to a ping.
pub fn pong(payload: &Bytes) -> Bytes {
    let mut frame = BytesMut::with_capacity(payload.len() + 2);
    frame.put_u8(0x80 | PONG);
    // The decoder refuses pings of more than 125 bytes.
    frame.put_u8(payload.len() as u8);
    frame.put_slice(payload);
    frame.freeze()
}

/// A close frame with a status code and a reason of at most 123 bytes.
pub fn close(code: u16, reason: &str) -> Bytes {
    let mut frame = BytesMut::with_capacity(reason.len() + 4);
    frame.put_u8(0x80 | CLOSE);
    frame.put_u8(reason.len() as u8 + 2);
    frame.put_u16(code);
    frame.put_slice(reason.as_bytes());
    frame.freeze()
}

/// A frame that this module encoded, decoded again for long-polling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerFrame<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
    Pong,
    Close,
}

/// Splits the first frame from bytes that this module encoded.
pub fn split_frame(bytes: &[u8]) -> Option<(ServerFrame<'_>, &[u8])> {
    let (&[first, second], rest) = bytes.split_first_chunk()?;
    let (length, rest) = match second {
        126 => {
            rest.split_first_chunk().map(|(n, rest)| (u64::from(u16::from_be_bytes(*n)), rest))?
        }
        127 => rest.split_first_chunk().map(|(n, rest)| (u64::from_be_bytes(*n), rest))?,
        short => (u64::from(short), rest),
    };
    let (payload, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    let frame = match first & 0x0F {
        TEXT => ServerFrame::Text(str::from_utf8(payload).ok()?),
        BINARY => ServerFrame::Binary(payload),
        CLOSE => ServerFrame::Close,
        _ => ServerFrame::Pong,
    };
    Some((frame, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tungstenite::protocol::frame::FrameHeader;

    use super::*;

    proptest! {
        #[test]
        fn another_implementation_reads_what_is_sent(length in 0..70_000_usize) {
            let payload = "x".repeat(length);
            let frame = text(&["4", &payload]);
            let mut cursor = std::io::Cursor::new(&frame[..]);
            let (header, size) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
            prop_assert!(header.is_final && header.mask.is_none());
            prop_assert_eq!(size as usize, length + 1);
            prop_assert_eq!(frame.len() - cursor.position() as usize, length + 1);
        }

        #[test]
        fn frames_are_split_as_they_were_put_together(length in 0..70_000_usize, next in ".{0,10}") {
            let payload = "é".repeat(length / 2);
            let frames = [binary(payload.as_bytes()), text(&[&payload]), close(1000, "")].concat();
            let (first, rest) = split_frame(&frames).unwrap();
            prop_assert_eq!(first, ServerFrame::Binary(payload.as_bytes()));
            let (second, rest) = split_frame(rest).unwrap();
            prop_assert_eq!(second, ServerFrame::Text(&payload));
            prop_assert_eq!(split_frame(rest), Some((ServerFrame::Close, &[][..])));
            prop_assert!(split_frame(next.as_bytes().get(..1).unwrap_or_default()).is_none());
        }
    }
}
