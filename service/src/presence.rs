//! Presence queries to the gateways.

use std::{collections::HashSet, time::Duration};

use async_nats::{Client, Request, RequestErrorKind};
use protocol::{
    RoomId, UserId,
    presence::{PresencePayloadError, PresenceQuery, PresenceReply, TooManyUsers},
    subject,
};

/// Timeout of a query. Gateways reply from memory within a few milliseconds, and a list of members should not
/// wait longer for an optional detail.
const ANSWER_WITHIN: Duration = Duration::from_millis(300);

/// A presence query failed.
#[derive(Debug, thiserror::Error)]
pub enum PresenceError {
    #[error(transparent)]
    TooManyUsers(#[from] TooManyUsers),
    /// No reply in time, or no connection.
    #[error("no gateway replied: {0}")]
    Unavailable(RequestErrorKind),
    #[error("a gateway's reply: {0}")]
    Payload(#[from] PresencePayloadError),
}

/// Returns those of `users` (at most [`PresenceQuery::USERS`]) who are online in the room. Every gateway with
/// sockets in the room has the full list of online users, so the first reply is enough. If no gateway listens,
/// no user is online.
pub async fn online(
    client: &Client,
    room: RoomId,
    users: &[UserId],
) -> Result<HashSet<UserId>, PresenceError> {
    let query = PresenceQuery::new(users.to_vec())?;
    let request = Request::new().payload(query.encode().into()).timeout(Some(ANSWER_WITHIN));
    match client.send_request(subject::online(room), request).await {
        Ok(message) => Ok(PresenceReply::decode(&message.payload)?.online.into_iter().collect()),
        Err(error) if error.kind() == RequestErrorKind::NoResponders => Ok(HashSet::new()),
        Err(error) => Err(PresenceError::Unavailable(error.kind())),
    }
}
