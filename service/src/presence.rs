//! Who is online in a room, asked of the gateways.

use std::{collections::HashSet, time::Duration};

use async_nats::{Client, Request, RequestErrorKind};
use protocol::{
    RoomId, UserId,
    presence::{Answer, NotPresence, Question, TooMany},
    subject,
};

/// Gateways answer from memory, within a millisecond or two. Who lists members waits no longer for
/// what is a nicety.
const ANSWER_WITHIN: Duration = Duration::from_millis(300);

/// Why it is not known who is online.
#[derive(Debug, thiserror::Error)]
pub enum PresenceError {
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// No answer in time, or no connection.
    #[error("no gateway said who is online: {0}")]
    Unavailable(RequestErrorKind),
    #[error("a gateway's answer: {0}")]
    Answer(#[from] NotPresence),
}

/// Which of `users`, [`Question::USERS`] at most, are online in the room. Every gateway with sockets
/// in it knows of all, so the first answer is enough; without any, nobody is.
pub async fn online(
    client: &Client,
    room: RoomId,
    users: &[UserId],
) -> Result<HashSet<UserId>, PresenceError> {
    let question = Question::new(users.to_vec())?;
    let request = Request::new().payload(question.encode().into()).timeout(Some(ANSWER_WITHIN));
    match client.send_request(subject::online(room), request).await {
        Ok(message) => Ok(Answer::decode(&message.payload)?.online.into_iter().collect()),
        Err(error) if error.kind() == RequestErrorKind::NoResponders => Ok(HashSet::new()),
        Err(error) => Err(PresenceError::Unavailable(error.kind())),
    }
}
