//! Streams, their durable consumers, and key-value buckets.

use std::time::Duration;

use anyhow::Context as _;
use async_nats::{
    Client,
    jetstream::{
        self, Context,
        consumer::{AckPolicy, pull},
        kv,
        stream::{Config as StreamConfig, DiscardPolicy, Republish, RetentionPolicy, StorageType},
    },
};
use protocol::{
    limits,
    subject::{ARCHIVE_CONSUMER, FILES_BUCKET, REVOKED_BUCKET, Shard},
};

use crate::Config;

/// Longer than any token that a revocation is for can live.
const REVOKED_FOR: Duration = Duration::from_secs(3600);
/// A message names its file soon after the file is complete.
const FILES_FOR: Duration = Duration::from_secs(24 * 3600);
/// Bytes of each bucket; NATS reserves them.
const BUCKET_BYTES: i64 = 256 * 1024 * 1024;
/// Events that archive has fetched and not acknowledged: some batches.
const UNACKNOWLEDGED: i64 = 2_000;
/// An event that was not acknowledged in this time comes again.
const ACKNOWLEDGE_WITHIN: Duration = Duration::from_secs(30);

/// Brings NATS to what this version needs.
pub async fn provision(client: &Client, config: &Config) -> anyhow::Result<()> {
    let context = jetstream::new(client.clone());
    for shard in config.shards.all() {
        let wanted = stream(shard, config);
        let name = wanted.name.clone();
        let info = context.create_or_update_stream(wanted).await;
        info.with_context(|| format!("stream {name}"))?;
        let consumer = context.create_consumer_on_stream(archive_consumer(), &name).await;
        consumer.with_context(|| format!("consumer {ARCHIVE_CONSUMER} on {name}"))?;
        tracing::info!(stream = name, "the stream is there");
    }
    bucket(&context, REVOKED_BUCKET, REVOKED_FOR, config.replicas).await?;
    bucket(&context, FILES_BUCKET, FILES_FOR, config.replicas).await
}

fn stream(shard: Shard, config: &Config) -> StreamConfig {
    StreamConfig {
        name: shard.stream(),
        description: Some("What happened in the rooms of one shard".into()),
        subjects: vec![shard.stored_by_all_rooms()],
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

async fn bucket(
    context: &Context,
    name: &str,
    max_age: Duration,
    replicas: usize,
) -> anyhow::Result<()> {
    let wanted = kv::Config {
        bucket: name.into(),
        history: 1,
        max_age,
        max_bytes: BUCKET_BYTES,
        storage: StorageType::File,
        num_replicas: replicas,
        ..kv::Config::default()
    };
    let made = context.create_or_update_key_value(wanted).await;
    made.with_context(|| format!("key-value bucket {name}"))?;
    tracing::info!(bucket = name, "the key-value bucket is there");
    Ok(())
}
