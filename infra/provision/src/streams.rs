//! Streams, their durable consumers, and key-value buckets.

use std::time::Duration;

use anyhow::Context as _;
use async_nats::{
    Client,
    jetstream::{
        self, Context, ErrorCode,
        consumer::{AckPolicy, PullConsumer, pull},
        context::GetStreamErrorKind,
        stream::{Config as StreamConfig, DiscardPolicy, Republish, RetentionPolicy, StorageType},
    },
};
use protocol::{
    limits,
    subject::{
        self, ARCHIVE_CONSUMER, FILES_BUCKET, PURGED_BUCKET, REVOKED_BUCKET, REVOKED_NEWS, Shard,
    },
};

use crate::{Outcome, StreamsConfig, report};

/// A key-value bucket.
struct Bucket {
    name: &'static str,
    /// How long a value is kept; zero for ever.
    max_age: Duration,
    /// Values kept of each key.
    history: i64,
    /// Where new values are published for those who listen.
    republish: Option<&'static str>,
}

const BUCKETS: [Bucket; 3] = [
    Bucket {
        name: REVOKED_BUCKET,
        // Longer than any token that a revocation is for can live.
        max_age: Duration::from_secs(limits::REVOKED_SECONDS),
        // What the outbox still owed may come after what followed it, and must not hide it.
        history: 8,
        republish: Some(REVOKED_NEWS),
    },
    Bucket {
        name: FILES_BUCKET,
        // A message names its file soon after the file is complete.
        max_age: Duration::from_secs(24 * 3600),
        history: 1,
        republish: None,
    },
    // Some 150 bytes for each room of which anything was ever purged.
    Bucket { name: PURGED_BUCKET, max_age: Duration::ZERO, history: 1, republish: None },
];
/// A put that is repeated within this time under the same message id is stored once.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);
/// Bytes of each bucket; NATS reserves them.
const BUCKET_BYTES: i64 = 256 * 1024 * 1024;
/// Events that archive has fetched and not acknowledged: some batches.
const UNACKNOWLEDGED: i64 = 8_000;
/// An event that was not acknowledged in this time comes again.
const ACKNOWLEDGE_WITHIN: Duration = Duration::from_secs(30);

/// Brings NATS to what this version needs.
pub async fn provision(client: &Client, config: &StreamsConfig) -> anyhow::Result<()> {
    let context = jetstream::new(client.clone());
    for shard in config.shards.all() {
        let wanted = stream(shard, config);
        let name = wanted.name.clone();
        let before = config_of(&context, &name).await?;
        let now = context.create_or_update_stream(wanted).await;
        let now = now.with_context(|| {
            format!("stream {name} (STREAM_MAX_BYTES={} is reserved for it)", config.stream_bytes)
        })?;
        report(&format!("stream {name}"), Outcome::of(before.as_ref(), &now.config));
        consumer(&context, &name).await?;
    }
    for wanted in &BUCKETS {
        bucket(&context, wanted, config.replicas).await?;
    }
    Ok(())
}

async fn config_of(context: &Context, stream: &str) -> anyhow::Result<Option<StreamConfig>> {
    match context.get_stream(stream).await {
        Ok(found) => Ok(Some(found.cached_info().config.clone())),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(refusal)
                if refusal.error_code() == ErrorCode::STREAM_NOT_FOUND =>
            {
                Ok(None)
            }
            _ => Err(error).with_context(|| format!("stream {stream}")),
        },
    }
}

async fn consumer(context: &Context, stream: &str) -> anyhow::Result<()> {
    let name = format!("consumer {ARCHIVE_CONSUMER} of {stream}");
    let before: Option<PullConsumer> =
        context.get_consumer_from_stream(ARCHIVE_CONSUMER, stream).await.ok();
    let now = context.create_consumer_on_stream(archive_consumer(), stream).await;
    let now = now.with_context(|| name.clone())?;
    let before = before.map(|before| before.cached_info().config.clone());
    report(&name, Outcome::of(before.as_ref(), &now.cached_info().config));
    Ok(())
}

fn stream(shard: Shard, config: &StreamsConfig) -> StreamConfig {
    StreamConfig {
        name: shard.stream(),
        description: Some("What happened in the rooms of one shard".into()),
        subjects: vec![shard.stored_by_all_rooms(), shard.reads_of_all_rooms()],
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        // A full stream says so; it never forgets in silence.
        discard: DiscardPolicy::New,
        max_bytes: config.stream_bytes,
        duplicate_window: Duration::from_secs(limits::DEDUPE_SECONDS),
        republish: Some(Republish {
            source: shard.stored_by_all_rooms(),
            destination: shard.republished(),
            headers_only: false,
        }),
        allow_direct: true,
        // Single events go by purge alone, from the old end: a hole would look like a loss.
        deny_delete: true,
        num_replicas: config.replicas,
        ..StreamConfig::default()
    }
}

fn archive_consumer() -> pull::Config {
    pull::Config {
        durable_name: Some(ARCHIVE_CONSUMER.into()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACKNOWLEDGE_WITHIN,
        max_ack_pending: UNACKNOWLEDGED,
        ..pull::Config::default()
    }
}

/// A key-value bucket is a stream of a certain form (ADR-8 of NATS). It is made as such, because a client makes one whose
/// keys every writer may purge with a header (`Nats-Rollup`), and that can be purged as a whole.
fn bucket_stream(bucket: &Bucket, replicas: usize) -> StreamConfig {
    let &Bucket { name, max_age, history, republish } = bucket;
    let subjects = subject::bucket_put(name, ">");
    StreamConfig {
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
        duplicate_window: DUPLICATE_WINDOW,
        allow_direct: true,
        allow_rollup: false,
        deny_delete: true,
        deny_purge: true,
        num_replicas: replicas,
        ..StreamConfig::default()
    }
}

async fn bucket(context: &Context, bucket: &Bucket, replicas: usize) -> anyhow::Result<()> {
    let thing = format!("key-value bucket {}", bucket.name);
    let wanted = bucket_stream(bucket, replicas);
    let before = config_of(context, &wanted.name).await?;
    let now = context.create_or_update_stream(wanted).await.with_context(|| thing.clone())?;
    report(&thing, Outcome::of(before.as_ref(), &now.config));
    Ok(())
}
