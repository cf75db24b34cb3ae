//! The gateway's NATS client: the only module that uses async-nats.

use std::{sync::Arc, time::Duration};

use async_nats::{Client, Event, Request, RequestErrorKind, Subscriber};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use protocol::{
    FileId, MessageId, RoomId, Seq, UserId,
    message_lookup::{FirstStored, LookupReply, MessageLookup},
    presence::PresenceQuery,
    stored::{FileRef, Position, ReadMark},
    subject::{self, FILES_BUCKET, REVOKED_BUCKET},
};
use service::{
    bucket::{Bucket, BucketEntry},
    direct::DirectGet,
    high_water::HighWater,
    nats,
    roomlog::{LogError, Pending, RoomLog},
    trace::TraceParent,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{config::Config, ephemeral::EphemeralEvent};

/// How often the newest sequence of each stream is compared with its high-water mark.
const COMPARE_EVERY: Duration = Duration::from_secs(2);

/// Timeout of a message lookup. The replying process gives up a second earlier, so that its reply is not lost.
const LOOKUP_WITHIN: Duration = Duration::from_secs(3);

/// One connection to NATS. Clones share it.
#[derive(Clone)]
pub struct Bus {
    client: Client,
    log: RoomLog,
    revoked: Bucket,
    files: Bucket,
    /// A counter that rises whenever messages may have been missed.
    disturbed: watch::Receiver<u64>,
}

/// A stored event, republished by the stream.
#[derive(Debug)]
pub struct Republished {
    pub position: Position,
    pub payload: Bytes,
    /// None if it is not sampled.
    pub trace: Option<TraceParent>,
}

/// A presence query and the subject for its reply.
#[derive(Debug)]
pub struct PresenceRequest {
    pub query: PresenceQuery,
    pub reply: String,
}

impl Bus {
    /// Connects in the background: the gateway starts while NATS is away, and is not ready.
    pub async fn connect(config: &Config, high_water: HighWater) -> anyhow::Result<Self> {
        let (disturb, disturbed) = watch::channel(0);
        let disturb = Arc::new(disturb);
        let on_event = move |event: &Event| {
            if matches!(event, Event::Connected | Event::SlowConsumer(_)) {
                disturb.send_modify(|count| *count += 1);
            }
        };
        let client = nats::connect_in_background(&config.nats, on_event).await?;
        let log = RoomLog::new(client.clone(), config.shards).sharing(high_water);
        let stored = DirectGet::new(client.clone());
        let revoked = Bucket::new(stored.clone(), REVOKED_BUCKET);
        let files = Bucket::new(stored, FILES_BUCKET);
        Ok(Self { client, log, revoked, files, disturbed })
    }

    /// The rooms' log.
    pub fn log(&self) -> &RoomLog {
        &self.log
    }

    /// Changes whenever messages may have been missed: after a reconnect, or when a subscription was too slow.
    pub fn disturbed(&self) -> watch::Receiver<u64> {
        self.disturbed.clone()
    }

    /// See [`nats::is_ready`].
    pub async fn is_ready(&self) -> bool {
        nats::is_ready(&self.client, self.log.high_water()).await
    }

    /// Compares the streams with this process's high-water marks regularly, until `ended`.
    pub async fn watch_streams(self, ended: CancellationToken) {
        while ended.run_until_cancelled(tokio::time::sleep(COMPARE_EVERY)).await.is_some() {
            if let Err(error) = self.log.look_at_streams().await {
                tracing::debug!(%error, "the streams cannot be checked now");
            }
        }
    }

    /// Subscribes to heartbeats of all gateways, including this one.
    pub async fn gateways_alive(
        &self,
    ) -> Result<impl Stream<Item = Bytes> + Send + Unpin + use<>, LogError> {
        Ok(self.subscribe(subject::GATEWAY_ALIVE.to_owned()).await?.map(|message| message.payload))
    }

    async fn subscribe(&self, subject: String) -> Result<Subscriber, LogError> {
        let subscribed = self.client.subscribe(subject).await;
        subscribed.map_err(|error| LogError::Unavailable(error.to_string().into()))
    }

    /// Sends an ephemeral event to all gateways with sockets in the room. It is lost while NATS is unreachable.
    pub async fn send(&self, room: RoomId, event: &EphemeralEvent) {
        if let Ok(payload) = serde_json::to_vec(event) {
            self.publish_live(subject::live(room), payload.into()).await;
        }
    }

    /// Stores how far a user has read a room. The archive keeps only the furthest mark, so a duplicate is
    /// harmless.
    pub async fn store_read(
        &self,
        room: RoomId,
        user: UserId,
        seq: Seq,
        trace: Option<TraceParent>,
    ) -> Result<Pending, LogError> {
        let id = format!("read:{user}:{room}:{seq}");
        let payload = ReadMark { seq }.encode().into();
        let subject = subject::read(self.log.shards(), room, user);
        self.log.publish(subject, &id, payload, trace).await
    }

    /// Publishes on core NATS, without storing: the message is lost if there is no subscriber or NATS is
    /// unreachable.
    pub async fn publish_live(&self, subject: String, payload: Bytes) {
        if let Err(error) = self.client.publish(subject, payload).await {
            tracing::warn!(%error, "an ephemeral event could not be sent");
        }
    }

    /// Looks up a complete file of a room.
    pub async fn file(&self, room: RoomId, file: FileId) -> Result<Option<FileRef>, LogError> {
        let entry = self.files.value(&subject::file_key(room, file)).await?;
        // An empty value means that the file was removed.
        let Some(json) = entry.filter(|json| !json.is_empty()) else { return Ok(None) };
        serde_json::from_slice(&json).map(Some).map_err(|error| {
            LogError::Unavailable(format!("the file's entry cannot be parsed: {error}").into())
        })
    }

    /// Looks up where a message was first stored, if it was. A process with a database replies.
    pub async fn look_up_message(
        &self,
        room: RoomId,
        author: UserId,
        id: MessageId,
    ) -> Result<Option<FirstStored>, LogError> {
        let lookup = MessageLookup { author, id }.encode();
        let request = Request::new().payload(lookup.into()).timeout(Some(LOOKUP_WITHIN));
        let answer = self.client.send_request(subject::sent(room), request).await;
        let answer = match answer.as_ref().map(|message| LookupReply::decode(&message.payload)) {
            Ok(Ok(LookupReply::Found(first))) => Ok(Some(first)),
            Ok(Ok(LookupReply::NotFound)) => Ok(None),
            Ok(Ok(LookupReply::Unknown)) => Err("the database or the stream did not answer"),
            Ok(Err(_)) => Err("the reply cannot be parsed"),
            Err(error) if error.kind() == RequestErrorKind::NoResponders => {
                Err("neither `functions` nor `archive --follow` is running")
            }
            Err(_) => Err("no reply in time"),
        };
        let outcome = match &answer {
            Ok(Some(_)) => "sent",
            Ok(None) => "not-sent",
            Err(_) => "unknown",
        };
        metrics::counter!("chat_gateway_message_lookups_total", "answer" => outcome).increment(1);
        answer.map_err(|reason| {
            LogError::Unavailable(
                format!("the lookup of an earlier attempt failed: {reason}").into(),
            )
        })
    }

    /// Subscribes to new entries of the bucket of revocations.
    pub async fn revocation_news(
        &self,
    ) -> Result<impl Stream<Item = BucketEntry> + Send + Unpin + use<>, LogError> {
        let bucket = self.revoked.clone();
        let messages = self.subscribe(subject::REVOKED_NEWS.to_owned()).await?;
        Ok(messages.filter_map(move |message| std::future::ready(bucket.entry(message))))
    }

    /// Reads entries of the bucket of revocations after a sequence, oldest first.
    pub async fn revocations_after(
        &self,
        seq: Seq,
        limit: usize,
    ) -> Result<Vec<BucketEntry>, LogError> {
        self.revoked.after(seq, limit).await
    }
}
