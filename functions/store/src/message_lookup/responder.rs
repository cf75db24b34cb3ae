//! Answers the message lookups of gateways, which have no database and ask by a request on NATS.

use std::time::Duration;

use async_nats::{Client, Message};
use futures_util::StreamExt as _;
use protocol::{
    message_lookup::{LookupReply, MessageLookup},
    subject::{self, SENT_IN_ALL_ROOMS, SENT_QUEUE},
};
use tokio_util::sync::CancellationToken;

use super::find;
use crate::Store;

/// Bound of concurrent lookups of one process. Below the number of database connections, so that requests still get
/// one. Further lookups wait in the subscription until the gateways give up.
const MAX_CONCURRENT: usize = 8;
/// Time limit of one lookup. Below the gateway's, so that the gateway receives the failure.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);
/// Delay after a failed subscription, which only a closed connection or missing permissions cause.
const SUBSCRIBE_RETRY_AFTER: Duration = Duration::from_secs(1);

/// Answers lookups until `shutdown`. All answering processes form one queue group, so each lookup is answered once.
pub async fn answer(client: Client, store: Store, shutdown: CancellationToken) {
    let answering = async {
        loop {
            match client.queue_subscribe(SENT_IN_ALL_ROOMS, SENT_QUEUE.to_owned()).await {
                Ok(requests) => {
                    let one = |request| answer_one(&client, &store, request);
                    requests.for_each_concurrent(MAX_CONCURRENT, one).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot subscribe to message lookups; retrying")
                }
            }
            tokio::time::sleep(SUBSCRIBE_RETRY_AFTER).await;
        }
    };
    shutdown.run_until_cancelled(answering).await;
}

async fn answer_one(client: &Client, store: &Store, request: Message) {
    let (Some(room), Some(reply)) = (subject::room_of_sent(&request.subject), request.reply) else {
        tracing::warn!(subject = %request.subject, "a message lookup without room or reply subject");
        return;
    };
    let Ok(MessageLookup { author, id }) = MessageLookup::decode(&request.payload) else {
        tracing::warn!(%room, "cannot decode a message lookup");
        return;
    };
    let found = find(store, room, author, id);
    let answer = match tokio::time::timeout(LOOKUP_TIMEOUT, found).await {
        Ok(Ok(first)) => first.map_or(LookupReply::NotFound, LookupReply::Found),
        Ok(Err(error)) => {
            tracing::warn!(%room, %error, "a message lookup failed");
            LookupReply::Unknown
        }
        Err(_) => {
            tracing::warn!(%room, "a message lookup timed out");
            LookupReply::Unknown
        }
    };
    let outcome = match answer {
        LookupReply::Found(_) => "sent",
        LookupReply::NotFound => "not-sent",
        LookupReply::Unknown => "unknown",
    };
    metrics::counter!("chat_message_lookup_answers_total", "answer" => outcome).increment(1);
    if let Err(error) = client.publish(reply, answer.encode().into()).await {
        tracing::warn!(%room, %error, "cannot reply to a message lookup");
    }
}
