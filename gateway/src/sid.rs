//! Engine.IO session ids.
//!
//! An id says where its socket is in this gateway, so that no table is needed to find it, and holds
//! 122 random bits, so that nobody finds another's. An id of another gateway fits no socket here.

use std::{fmt, str::FromStr};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use uuid::Uuid;

use crate::shard::SocketId;

const BYTES: usize = 26;

/// See the module.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Sid {
    pub shard: u16,
    pub socket: SocketId,
    pub secret: Uuid,
}

/// A text that is no id of ours.
#[derive(Debug, PartialEq, Eq)]
pub struct NotASid;

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.extend_from_slice(&self.shard.to_be_bytes());
        bytes.extend_from_slice(&self.socket.index.to_be_bytes());
        bytes.extend_from_slice(&self.socket.generation.to_be_bytes());
        bytes.extend_from_slice(self.secret.as_bytes());
        f.write_str(&BASE64_URL_SAFE_NO_PAD.encode(bytes))
    }
}

/// Without the secret: who has it has the session.
impl fmt::Debug for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sid").field("shard", &self.shard).field("socket", &self.socket).finish()
    }
}

impl FromStr for Sid {
    type Err = NotASid;

    fn from_str(text: &str) -> Result<Self, NotASid> {
        if text.len() > BYTES * 2 {
            return Err(NotASid);
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| NotASid)?;
        let (shard, rest) = bytes.split_first_chunk().ok_or(NotASid)?;
        let (index, rest) = rest.split_first_chunk().ok_or(NotASid)?;
        let (generation, secret) = rest.split_first_chunk().ok_or(NotASid)?;
        let socket = SocketId {
            index: u32::from_be_bytes(*index),
            generation: u32::from_be_bytes(*generation),
        };
        let secret = Uuid::from_slice(secret).map_err(|_| NotASid)?;
        Ok(Self { shard: u16::from_be_bytes(*shard), socket, secret })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_id_is_read_as_it_was_written(shard: u16, index: u32, generation: u32, secret: u128) {
            let socket = SocketId { index, generation };
            let sid = Sid { shard, socket, secret: Uuid::from_u128(secret) };
            let text = sid.to_string();
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
            prop_assert!(text.parse() == Ok(sid));
        }

        #[test]
        fn other_texts_are_none(text in ".{0,34}|.{36,80}") {
            prop_assert!(text.parse::<Sid>().is_err());
        }
    }
}
