//! Asking the gateways which users are online.

use std::{collections::HashSet, time::Duration};

use async_nats::{Client, Request, RequestErrorKind};
use protocol::{
    RoomId, UserId,
    presence::{PresencePayloadError, PresenceQuery, PresenceReply, TooManyUsers},
    subject,
};

/// Gateways answer from memory, within a millisecond or two. A list of members is not worth a longer wait.
const ANSWER_WITHIN: Duration = Duration::from_millis(300);

/// The gateways could not be asked.
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

/// Those of `users`, at most [`PresenceQuery::USERS`], who are online in the room. Every gateway with
/// sockets in the room knows all users there, so the first reply is enough. If no gateway listens,
/// nobody is online.
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
