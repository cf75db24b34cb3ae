//! Users and rooms of a run, with access tokens and tickets signed like those of the functions.

use std::sync::Arc;

use aws_lc_rs::{rand::SystemRandom, signature::Ed25519KeyPair};
use pem::Pem;
use protocol::{
    DisplayName, Role, RoomId, SessionId, Timestamp, UserId,
    token::{Minter, Ticket},
};

/// Lifetime of tokens: longer than a run.
const TOKEN_SECONDS: i64 = 4 * 3600;

/// A new private key in the format of `SIGNING_KEY`.
pub fn signing_key() -> anyhow::Result<String> {
    let document = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new())
        .map_err(|_| anyhow::anyhow!("the system's random number generator failed"))?;
    Ok(pem::encode(&Pem::new("PRIVATE KEY", document.as_ref())))
}

/// Cheap to clone, because all clients of a run share it.
#[derive(Clone)]
pub struct Identity {
    minter: Arc<Minter>,
    rooms: Arc<[RoomId]>,
    users: Arc<[UserId]>,
}

impl Identity {
    pub fn new(rooms: usize, users: usize) -> anyhow::Result<Self> {
        let minter = Arc::new(Minter::from_pem(&signing_key()?.into())?);
        let rooms = (0..rooms).map(|_| RoomId::generate()).collect();
        let users = (0..users).map(|_| UserId::generate()).collect();
        Ok(Self { minter, rooms, users })
    }

    /// The same keys and users with new, empty rooms.
    pub fn with_new_rooms(&self) -> Self {
        let rooms = self.rooms.iter().map(|_| RoomId::generate()).collect();
        Self { rooms, ..self.clone() }
    }

    /// The public keys in the format of `JWKS`.
    pub fn jwks(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string(self.minter.jwks())?)
    }

    pub fn room(&self, room: usize) -> RoomId {
        self.rooms[room]
    }

    /// The room whose id is in a frame.
    pub fn room_in(&self, frame: &[u8]) -> Option<usize> {
        const KEY: &[u8] = br#""roomId":""#;
        let at = memchr::memmem::find(frame, KEY)? + KEY.len();
        let id: RoomId = std::str::from_utf8(frame.get(at..at + 36)?).ok()?.parse().ok()?;
        // UUIDv7 are generated in ascending order.
        self.rooms.binary_search(&id).ok()
    }

    /// The Socket.IO CONNECT packet with an access token.
    pub fn connect(&self, member: usize) -> anyhow::Result<String> {
        let exp = Timestamp::now().unix() + TOKEN_SECONDS;
        let token = self.minter.access_until(self.users[member], SessionId::generate(), exp)?;
        Ok(format!(r#"40{{"token":"{token}"}}"#))
    }

    /// A `join-room` packet that requests an acknowledgement.
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
            exp: Timestamp::now().unix() + TOKEN_SECONDS,
        })?;
        let after = after.map(|after| format!(r#","after":{after}"#)).unwrap_or_default();
        Ok(format!(
            r#"42{ack}["join-room",{{"roomId":"{room}","userId":"{user}","ticket":"{ticket}"{after}}}]"#
        ))
    }
}
