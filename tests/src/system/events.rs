//! Direct access to NATS: stored events, dead letters, revocations and stream settings.

use std::time::Duration;

use protocol::{
    MessageId, Role, RoomId, Seq, Timestamp, UserId,
    stored::{Message, Person, StoredEvent},
    subject::{self, MemberState, Revoked, Shards},
};
use service::roomlog::RoomLog;

use super::System;

impl System {
    /// A connection to NATS with the permissions of a role of nats.conf.
    pub async fn nats_as(&self, role: &'static str) -> async_nats::Client {
        let config = self.config(|env| service::nats::NatsConfig::from_env(env, role));
        service::nats::connect(&config, |_| {}).await.unwrap()
    }

    /// Makes JetStream forget the message ids that it has seen, as it does when its dedupe window ends.
    pub async fn expire_dedupe_window(&self) {
        const SHORT: Duration = Duration::from_millis(100);
        let admin = async_nats::jetstream::new(self.nats_as("provision").await);
        let mut config = admin.get_stream("CHAT_0").await.unwrap().cached_info().config.clone();
        let window = config.duplicate_window;
        config.duplicate_window = SHORT;
        admin.update_stream(config.clone()).await.unwrap();
        // The ids expire by time alone and nothing reports it: three windows are enough.
        tokio::time::sleep(SHORT * 3).await;
        config.duplicate_window = window;
        admin.update_stream(config).await.unwrap();
    }

    /// Shortens the time after which unacknowledged messages are delivered to the archive again.
    pub async fn set_archive_ack_wait(&self, wait: Duration) {
        let admin = async_nats::jetstream::new(self.nats_as("provision").await);
        let stream = admin.get_stream("CHAT_0").await.unwrap();
        let mut config = stream.consumer_info("archive").await.unwrap().config;
        config.ack_wait = wait;
        stream.update_consumer(config).await.unwrap();
    }

    /// The number of a room's events in the stream.
    pub async fn count_stored_events(&self, room: RoomId) -> usize {
        self.stored_events(room).await.len()
    }

    /// A room's events in the stream.
    pub async fn stored_events(&self, room: RoomId) -> Vec<StoredEvent> {
        let log = RoomLog::new(self.nats_as("functions").await, Shards::new(1).unwrap());
        let entries = log.after(room, Seq::ZERO, 10_000).await.unwrap();
        entries.iter().map(|entry| StoredEvent::decode(&entry.payload).unwrap()).collect()
    }

    /// Stores an event in a room, as the functions do.
    pub async fn append_event(&self, room: RoomId, event: StoredEvent) {
        let shards = Shards::new(1).unwrap();
        let log = RoomLog::new(self.nats_as("functions").await, shards);
        let id = uuid::Uuid::now_v7().to_string();
        let pending = log.append(room, &id, event.encode().into(), None).await.unwrap();
        pending.stored().await.unwrap();
    }

    /// Stores `count` messages of a user in a room, concurrently.
    pub async fn append_messages(&self, room: RoomId, user: UserId, count: usize) {
        let context = async_nats::jetstream::new(self.nats_as("functions").await);
        let subject = subject::stored(Shards::new(1).unwrap(), room);
        let from = Person { id: user, name: "Ada".parse().unwrap() };
        let mut pending = Vec::new();
        for _ in 0..count {
            let event = StoredEvent::ReceiveMsg(Message {
                id: MessageId::generate(),
                from: from.clone(),
                msg: "one of many".parse().unwrap(),
                at: Timestamp::now(),
                file: None,
                reply_to: None,
            });
            pending.push(context.publish(subject.clone(), event.encode().into()).await.unwrap());
            // The client waits for ever when 5,000 acknowledgements are awaited by nobody.
            if pending.len() == 1_000 {
                for stored in pending.drain(..) {
                    stored.await.unwrap();
                }
            }
        }
        for stored in pending {
            stored.await.unwrap();
        }
    }

    /// Publishes any payload on a stored subject, as a faulty gateway might. Returns its seq, or none if
    /// the stream refuses it.
    pub async fn publish_raw(&self, subject: String, payload: Vec<u8>) -> Option<u64> {
        let context = async_nats::jetstream::new(self.nats_as("gateway").await);
        let stored = context.publish(subject, payload.into()).await.unwrap().await;
        stored.ok().map(|ack| ack.sequence)
    }

    /// The dead letters: subject, reason, payload.
    pub async fn dead_letters(&self) -> Vec<(String, String, Vec<u8>)> {
        let admin = async_nats::jetstream::new(self.nats_as("provision").await);
        let stream = admin.get_stream(subject::DEAD_STREAM).await.unwrap();
        let mut letters = Vec::new();
        for seq in 1..=stream.cached_info().state.last_sequence {
            let letter = stream.get_raw_message(seq).await.unwrap();
            let header = |name: &str| letter.headers.get(name).unwrap().to_string();
            letters.push((header("Chat-Subject"), header("Chat-Reason"), letter.payload.to_vec()));
        }
        letters
    }

    /// Publishes a user's state in a room as of a version, as the functions do. No role means that the
    /// user is no member.
    pub async fn publish_membership(
        &self,
        room: RoomId,
        user: UserId,
        version: u64,
        role: Option<Role>,
    ) {
        let key = Revoked::Member(room, user).key();
        let put = subject::bucket_put(subject::REVOKED_BUCKET, &key);
        let context = async_nats::jetstream::new(self.nats_as("functions").await);
        let value = MemberState { version, role }.encode();
        context.publish(put, value.into()).await.unwrap().await.unwrap();
    }
}
