//! Who the members are: keys of this run, tokens and tickets as the functions would mint them.

use std::sync::Arc;

use aws_lc_rs::{rand::SystemRandom, signature::Ed25519KeyPair};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use protocol::{
    DisplayName, RoomId, SessionId, Timestamp, UserId,
    token::{Minter, Role, Ticket},
};

/// A run may take longer than a real token lives.
const SECONDS: i64 = 4 * 3600;

/// A new private key, as `SIGNING_KEY` has it.
pub fn signing_key() -> anyhow::Result<String> {
    let document = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new())
        .map_err(|_| anyhow::anyhow!("the system gives no random numbers"))?;
    let body = BASE64_STANDARD.encode(document.as_ref());
    Ok(format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n"))
}

/// Shared by all crowds of a run.
#[derive(Clone)]
pub struct Identity {
    minter: Arc<Minter>,
    rooms: Arc<[RoomId]>,
    users: Arc<[UserId]>,
}

impl Identity {
    /// Fresh keys, rooms and users.
    pub fn new(rooms: usize, users: usize) -> anyhow::Result<Self> {
        let minter = Arc::new(Minter::from_pem(&signing_key()?.into())?);
        let rooms = (0..rooms).map(|_| RoomId::generate()).collect();
        let users = (0..users).map(|_| UserId::generate()).collect();
        Ok(Self { minter, rooms, users })
    }

    /// The same keys with rooms that nobody has been in.
    pub fn elsewhere(&self) -> Self {
        let rooms = self.rooms.iter().map(|_| RoomId::generate()).collect();
        Self { rooms, ..self.clone() }
    }

    /// The public keys.
    pub fn jwks(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string(self.minter.jwks())?)
    }

    pub fn room(&self, room: usize) -> RoomId {
        self.rooms[room]
    }

    /// The room that a frame names.
    pub fn room_in(&self, frame: &[u8]) -> Option<usize> {
        const KEY: &[u8] = br#""roomId":""#;
        let at = memchr::memmem::find(frame, KEY)? + KEY.len();
        let id: RoomId = std::str::from_utf8(frame.get(at..at + 36)?).ok()?.parse().ok()?;
        // UUIDv7 made one after the other are sorted.
        self.rooms.binary_search(&id).ok()
    }

    /// The namespace's CONNECT.
    pub fn connect(&self, member: usize) -> anyhow::Result<String> {
        let exp = Timestamp::now().unix() + SECONDS;
        let token = self.minter.access_until(self.users[member], SessionId::generate(), exp)?;
        Ok(format!(r#"40{{"token":"{token}"}}"#))
    }

    /// `join-room`, with an acknowledgement.
    pub fn join(
        &self,
        ack: usize,
        member: usize,
        room: usize,
        after: Option<u64>,
    ) -> anyhow::Result<String> {
        let (user, room) = (self.users[member], self.rooms[room]);
        let ticket = self.minter.sign_ticket(Ticket {
            user,
            session: SessionId::generate(),
            room,
            role: Role::Member,
            version: 0,
            name: DisplayName::parse(&format!("member {member}"))?,
            exp: Timestamp::now().unix() + SECONDS,
        })?;
        let after = after.map(|after| format!(r#","after":{after}"#)).unwrap_or_default();
        Ok(format!(
            r#"42{ack}["join-room",{{"roomId":"{room}","userId":"{user}","ticket":"{ticket}"{after}}}]"#
        ))
    }
}
