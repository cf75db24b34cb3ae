//! Engine.IO session ids, and the socket addresses inside them.
//!
//! A session id contains the address of its socket in this gateway, so that no lookup table is needed, and 122
//! random bits, so that it cannot be guessed. The id of another gateway matches no socket here.

use std::{fmt, str::FromStr};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use uuid::Uuid;

const BYTES: usize = 26;

/// The address of a socket in one worker: an index, and a generation that distinguishes it from earlier sockets
/// at the same index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketId {
    pub index: u32,
    pub generation: u32,
}

/// The address of a socket in any worker of this gateway.
#[derive(Debug, Clone, Copy)]
pub struct SocketRef {
    pub worker: usize,
    pub id: SocketId,
}

/// An Engine.IO session id.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Sid {
    pub worker: u16,
    pub socket: SocketId,
    pub secret: Uuid,
}

/// A text that is not a session id.
#[derive(Debug, PartialEq, Eq)]
pub struct InvalidSid;

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.extend_from_slice(&self.worker.to_be_bytes());
        bytes.extend_from_slice(&self.socket.index.to_be_bytes());
        bytes.extend_from_slice(&self.socket.generation.to_be_bytes());
        bytes.extend_from_slice(self.secret.as_bytes());
        f.write_str(&BASE64_URL_SAFE_NO_PAD.encode(bytes))
    }
}

/// Omits the secret, with which anyone could take over the session.
impl fmt::Debug for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sid").field("worker", &self.worker).field("socket", &self.socket).finish()
    }
}

impl FromStr for Sid {
    type Err = InvalidSid;

    fn from_str(text: &str) -> Result<Self, InvalidSid> {
        if text.len() > BYTES * 2 {
            return Err(InvalidSid);
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidSid)?;
        let (worker, rest) = bytes.split_first_chunk().ok_or(InvalidSid)?;
        let (index, rest) = rest.split_first_chunk().ok_or(InvalidSid)?;
        let (generation, secret) = rest.split_first_chunk().ok_or(InvalidSid)?;
        let socket = SocketId {
            index: u32::from_be_bytes(*index),
            generation: u32::from_be_bytes(*generation),
        };
        let secret = Uuid::from_slice(secret).map_err(|_| InvalidSid)?;
        Ok(Self { worker: u16::from_be_bytes(*worker), socket, secret })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_session_id_round_trips(worker: u16, index: u32, generation: u32, secret: u128) {
            let socket = SocketId { index, generation };
            let sid = Sid { worker, socket, secret: Uuid::from_u128(secret) };
            let text = sid.to_string();
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
            prop_assert!(text.parse() == Ok(sid));
        }

        #[test]
        fn other_texts_are_not_ids(text in ".{0,34}|.{36,80}") {
            prop_assert!(text.parse::<Sid>().is_err());
        }
    }
}
