//! Configurations of all streams, key-value buckets and consumers.

use std::time::Duration;

use async_nats::jetstream::{
    consumer::{AckPolicy, pull},
    stream::{Config, DiscardPolicy, Republish, RetentionPolicy, StorageType},
};
use protocol::{
    limits,
    subject::{
        self, ALL_DEAD, ARCHIVE_CONSUMER, DEAD_STREAM, FILES_BUCKET, PURGED_BUCKET, REVOKED_BUCKET,
        REVOKED_NEWS, Shard,
    },
};

use crate::config::StreamsConfig;

/// A key-value bucket.
pub struct Bucket {
    pub name: &'static str,
    /// How long a value is kept; zero means forever.
    max_age: Duration,
    /// Number of values kept per key.
    history: i64,
    /// Subject on which new values are republished.
    republish: Option<&'static str>,
}

pub const BUCKETS: [Bucket; 3] = [
    Bucket {
        name: REVOKED_BUCKET,
        // Longer than the lifetime of every token that can be revoked.
        max_age: Duration::from_secs(limits::REVOKED_SECONDS),
        // The outbox may publish an older revocation late; it must not replace a newer one of the same key.
        history: 8,
        republish: Some(REVOKED_NEWS),
    },
    Bucket {
        name: FILES_BUCKET,
        // A message refers to its file soon after the upload is complete.
        max_age: Duration::from_secs(24 * 3600),
        history: 1,
        republish: None,
    },
    // About 150 bytes for each room from which an event was purged.
    Bucket { name: PURGED_BUCKET, max_age: Duration::ZERO, history: 1, republish: None },
];
/// Deduplication window of the buckets: a repeated put with the same message id is stored once.
const BUCKET_DEDUPE_WINDOW: Duration = Duration::from_secs(120);
/// Size of each bucket, which NATS reserves.
const BUCKET_BYTES: i64 = 256 * 1024 * 1024;
const DEAD_LETTER_BYTES: i64 = 64 * 1024 * 1024;
/// Dead letters contain messages of users, so they are not kept longer than debugging needs.
const DEAD_LETTER_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Events that the archive has fetched but not acknowledged: a few batches.
const MAX_ACK_PENDING: i64 = 8_000;
/// An event that is not acknowledged within this time is redelivered.
const ACK_WAIT: Duration = Duration::from_secs(30);

/// The stream of all events of a shard's rooms.
pub fn events(shard: Shard, config: &StreamsConfig) -> Config {
    Config {
        name: shard.stream(),
        description: Some("Events of the rooms of one shard".into()),
        subjects: vec![shard.stored_by_all_rooms(), shard.reads_of_all_rooms()],
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        // A full stream rejects new events instead of dropping old ones that may not be archived.
        discard: DiscardPolicy::New,
        max_bytes: config.stream_bytes,
        duplicate_window: Duration::from_secs(limits::DEDUPE_SECONDS),
        republish: Some(Republish {
            source: shard.stored_by_all_rooms(),
            destination: shard.republished(),
            headers_only: false,
        }),
        allow_direct: true,
        // Events are removed only by purging a room's oldest ones. A gap between events would look like a loss.
        deny_delete: true,
        num_replicas: config.replicas,
        ..Config::default()
    }
}

/// The stream of events that the archive could not store.
pub fn dead_letters(replicas: usize) -> Config {
    Config {
        name: DEAD_STREAM.into(),
        description: Some("Events that the archive could not store, with the error".into()),
        subjects: vec![ALL_DEAD.into()],
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        // A full stream must not stop the archive, and the newest entries are the most useful ones for debugging.
        discard: DiscardPolicy::Old,
        max_bytes: DEAD_LETTER_BYTES,
        max_age: DEAD_LETTER_AGE,
        deny_delete: true,
        deny_purge: true,
        num_replicas: replicas,
        ..Config::default()
    }
}

/// The stream of a key-value bucket in the format of NATS's ADR-8. The client library is not used to create it, because
/// its streams may be purged, as a whole or per key with the header `Nats-Rollup`, by everyone who may write to them.
pub fn bucket(bucket: &Bucket, replicas: usize) -> Config {
    let &Bucket { name, max_age, history, republish } = bucket;
    let subjects = subject::bucket_put(name, ">");
    Config {
        name: subject::bucket_stream(name),
        description: Some(format!("Key-value bucket {name}")),
        republish: republish.map(|destination| Republish {
            source: subjects.clone(),
            destination: destination.into(),
            headers_only: false,
        }),
        subjects: vec![subjects],
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        discard: DiscardPolicy::New,
        max_messages_per_subject: history,
        max_age,
        max_bytes: BUCKET_BYTES,
        duplicate_window: BUCKET_DEDUPE_WINDOW,
        allow_direct: true,
        allow_rollup: false,
        deny_delete: true,
        deny_purge: true,
        num_replicas: replicas,
        ..Config::default()
    }
}

pub fn archive_consumer() -> pull::Config {
    pull::Config {
        durable_name: Some(ARCHIVE_CONSUMER.into()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        max_ack_pending: MAX_ACK_PENDING,
        ..pull::Config::default()
    }
}
