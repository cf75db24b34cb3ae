//! Reading of stored messages by direct get (ADR-31 of NATS), which needs no consumer, and which any replica
//! can answer.
//!
//! A stored message keeps its publisher's headers, and the server appends its own after them. A publisher can
//! forge a header of any name, so only the *last* value of a name is the server's.

use std::{str::FromStr, time::Duration};

use async_nats::{
    Client, HeaderMap, Message, StatusCode,
    header::{HeaderName, NATS_SEQUENCE, NATS_STREAM, NATS_SUBJECT},
};
use futures_util::StreamExt as _;
use protocol::Seq;

use crate::log_error::{LogError, unavailable};

/// Timeout of each message of a batch.
const NEXT_ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// The status that ends a batch (ADR-31).
const END_OF_BATCH: u16 = 204;

/// A client of direct get.
#[derive(Clone)]
pub struct DirectGet(Client);

impl DirectGet {
    pub fn new(client: Client) -> Self {
        Self(client)
    }

    /// Sends a request and returns the stored messages. The server answers a batch with one reply per stored
    /// message, then an end marker.
    pub async fn messages(
        &self,
        stream: &str,
        request: &serde_json::Value,
    ) -> Result<Vec<Message>, LogError> {
        let client = &self.0;
        let inbox = client.new_inbox();
        let mut answers = client.subscribe(inbox.clone()).await.map_err(unavailable)?;
        let api = format!("$JS.API.DIRECT.GET.{stream}");
        let body = request.to_string().into();
        client.publish_with_reply(api, inbox, body).await.map_err(unavailable)?;
        let is_batch = request.get("batch").is_some() || request.get("multi_last").is_some();
        let mut found = Vec::new();
        loop {
            let answer = tokio::time::timeout(NEXT_ANSWER_WITHIN, answers.next())
                .await
                .map_err(|_| {
                    LogError::Unavailable("a stored message was not received in time".into())
                })?
                .ok_or(LogError::Unavailable("the connection was closed".into()))?;
            match answer.status {
                None | Some(StatusCode::OK) => found.push(answer),
                Some(StatusCode::NOT_FOUND) => return Ok(found),
                Some(status) if status.as_u16() == END_OF_BATCH => return Ok(found),
                Some(status) => return Err(unavailable(format!("status {status}"))),
            }
            if !is_batch {
                return Ok(found);
            }
        }
    }
}

/// The origin of a message that was read by direct get.
pub(crate) fn origin(message: &Message) -> Result<Origin<'_>, LogError> {
    Origin::of(message).ok_or(LogError::Unavailable("the message has no stream headers".into()))
}

/// The origin of a republished message, or of one that was read by direct get, from the headers that the server
/// sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin<'a> {
    pub stream: &'a str,
    pub subject: &'a str,
    pub seq: Seq,
}

impl<'a> Origin<'a> {
    /// `None` if no stream stores the message.
    pub fn of(message: &'a Message) -> Option<Self> {
        let headers = message.headers.as_ref()?;
        let text = |name| headers.get_last(name).map(|value| value.as_str());
        Some(Self {
            stream: text(NATS_STREAM)?,
            subject: text(NATS_SUBJECT)?,
            seq: number(headers, NATS_SEQUENCE)?,
        })
    }
}

/// A number in one of the server's headers.
pub fn number<N: FromStr>(headers: &HeaderMap, name: HeaderName) -> Option<N> {
    headers.get_last(name)?.as_str().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_of_a_header_is_the_servers() {
        let mut headers = HeaderMap::new();
        for (stream, subject, seq) in
            [("KV_revoked", "$KV.revoked.x", "99"), ("CHAT_0", "chat.0.in.x", "7")]
        {
            headers.append(NATS_STREAM, stream);
            headers.append(NATS_SUBJECT, subject);
            headers.append(NATS_SEQUENCE, seq);
        }
        let message = |headers| Message {
            subject: "_INBOX".into(),
            reply: None,
            payload: bytes::Bytes::new(),
            headers,
            status: None,
            description: None,
            length: 0,
        };
        let message = message(Some(headers));
        let origin = Origin { stream: "CHAT_0", subject: "chat.0.in.x", seq: 7.into() };
        assert_eq!(Origin::of(&message), Some(origin));
    }
}
