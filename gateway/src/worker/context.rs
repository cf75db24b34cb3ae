//! Handles that a worker shares with the rest of the gateway.

use std::{sync::Arc, time::Instant};

use protocol::{
    Code, RoomId, UserId, code::Refusal, rate::OverBudget, stored::StoredEvent, token::Access,
};
use service::{
    admission::{Admission, Admitted, Owner},
    publish::PublishBudgets,
};

use crate::{
    bus::Bus,
    health::Health,
    keys::Keys,
    memory::Budget,
    room::Rooms,
    session::{Rules, Session},
};

/// Maximum bytes of a message from an unauthenticated socket: enough for an access token.
const UNAUTHENTICATED_BYTES: usize = 16 * 1024;

/// See the module. All but `bus` is shared by all workers.
pub struct Context {
    pub bus: Bus,
    pub keys: Keys,
    pub rules: Arc<Rules>,
    pub rooms: Rooms,
    pub admission: Admission,
    pub budget: Budget,
    pub health: Health,
    pub publish: PublishBudgets,
    /// See [`crate::Config::conformance_echo`].
    pub conformance_echo: bool,
}

impl Context {
    /// Starts the session of a verified token, unless it was revoked or its user has too many sockets.
    pub fn start_session(&self, access: Access) -> Result<(Session, Admitted), Refusal> {
        let (owner, limit) = (Owner::User(access.user), self.rules.limits.sockets_per_user);
        let admitted = self
            .admission
            .admit(owner, limit)
            .ok_or(Refusal::new(Code::TooManySockets, "close another of your connections first"))?;
        Ok((Session::new(access, self.rules.clone(), Instant::now())?, admitted))
    }

    /// Charges an event to the publish budgets of its user and its room. Deletions are not charged to the room,
    /// because a moderator must be able to delete messages while others flood it.
    pub fn charge(
        &self,
        user: UserId,
        room: RoomId,
        event: &StoredEvent,
    ) -> Result<(), OverBudget> {
        self.publish.charge_user(user)?;
        if matches!(event, StoredEvent::MsgDeleted { .. }) {
            return Ok(());
        }
        self.publish.charge_room(room)
    }

    /// The maximum length of a message.
    pub fn max_message(&self, is_limited: bool) -> usize {
        let limit = self.rules.limits.frame_bytes;
        if is_limited { limit.min(UNAUTHENTICATED_BYTES) } else { limit }
    }
}
