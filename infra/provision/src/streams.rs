//! Streams, their durable consumers, and key-value buckets.

use std::time::Duration;

use anyhow::Context as _;
use async_nats::{
    Client,
    jetstream::{
        self, Context, ErrorCode,
        consumer::{AckPolicy, PullConsumer, pull},
        context::GetStreamErrorKind,
        stream::{
            Config as StreamConfig, DiscardPolicy, Info as StreamInfo, Republish, RetentionPolicy,
            StorageType,
        },
    },
};
use protocol::{
    limits,
    subject::{
        self, ALL_DEAD, ARCHIVE_CONSUMER, DEAD_STREAM, FILES_BUCKET, PURGED_BUCKET, REVOKED_BUCKET,
        REVOKED_NEWS, Shard,
    },
};
use service::roomlog::RoomLog;
use store::db::Database;

use crate::{Outcome, Recovery, StreamsConfig, report, sequences::Sequences};

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
/// Bytes of the dead letters, and how long they are kept: they hold what people wrote.
const DEAD_BYTES: i64 = 64 * 1024 * 1024;
const DEAD_FOR: Duration = Duration::from_secs(7 * 24 * 3600);
/// Events that archive has fetched and not acknowledged: some batches.
const UNACKNOWLEDGED: i64 = 8_000;
/// An event that was not acknowledged in this time comes again.
const ACKNOWLEDGE_WITHIN: Duration = Duration::from_secs(30);

/// Brings NATS to what this version needs. Without a database nobody knows which seqs were given.
pub async fn provision(
    client: &Client,
    config: &StreamsConfig,
    database: Option<&Database>,
    recovery: Recovery,
) -> anyhow::Result<()> {
    let context = jetstream::new(client.clone());
    let log = RoomLog::new(client.clone(), config.shards);
    let sequences = match database {
        Some(database) => {
            let read = Sequences::read(database, log, &context, config.shards, recovery).await?;
            read.check().await?;
            Some(read)
        }
        None => {
            tracing::warn!("the streams' sequences are not compared with the database");
            None
        }
    };
    for wanted in &BUCKETS {
        bucket(&context, wanted, config.replicas).await?;
    }
    for shard in config.shards.all() {
        let mut wanted = stream(shard, config);
        let name = wanted.name.clone();
        let mut before = config_of(&context, &name).await?;
        let mut replays = false;
        if let Some(sequences) = &sequences {
            replays = before.is_some() && sequences.replays(shard).await?;
            if before.is_some() && sequences.behind(shard).await?.is_some() {
                context.delete_stream(&name).await.with_context(|| format!("stream {name}"))?;
                tracing::warn!("stream {name}: was behind the database, is made anew");
                before = None;
            }
            if before.is_none() {
                wanted.first_sequence = sequences.first(shard).await?;
            }
        }
        if let Some(before) = &before {
            wanted.first_sequence = before.first_sequence;
        }
        let now = context.create_or_update_stream(wanted).await;
        let now = now.with_context(|| {
            format!("stream {name} (STREAM_MAX_BYTES={} is reserved for it)", config.stream_bytes)
        })?;
        report(&format!("stream {name}"), Outcome::of(before.as_ref(), &now.config));
        if replays {
            let deleted = context.delete_consumer_from_stream(ARCHIVE_CONSUMER, &name).await;
            deleted.with_context(|| format!("consumer {ARCHIVE_CONSUMER} of {name}"))?;
            tracing::warn!("stream {name}: the archive takes everything in it again");
        }
        let is_new = consumer(&context, &name).await?;
        if let Some(sequences) = &sequences {
            sequences.note(shard, is_new).await?;
        }
    }
    dead_letters(&context, config.replicas).await
}

async fn dead_letters(context: &Context, replicas: usize) -> anyhow::Result<()> {
    let wanted = StreamConfig {
        name: DEAD_STREAM.into(),
        description: Some("Events that the archive could not store, and why".into()),
        subjects: vec![ALL_DEAD.into()],
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        // The newest are of use to whoever looks for the fault; a full stream must not stop the archive.
        discard: DiscardPolicy::Old,
        max_bytes: DEAD_BYTES,
        max_age: DEAD_FOR,
        deny_delete: true,
        deny_purge: true,
        num_replicas: replicas,
        ..StreamConfig::default()
    };
    let before = config_of(context, DEAD_STREAM).await?;
    let now = context.create_or_update_stream(wanted).await;
    let now = now.with_context(|| format!("stream {DEAD_STREAM}"))?;
    report(&format!("stream {DEAD_STREAM}"), Outcome::of(before.as_ref(), &now.config));
    Ok(())
}

async fn config_of(context: &Context, stream: &str) -> anyhow::Result<Option<StreamConfig>> {
    Ok(info_of(context, stream).await?.map(|info| info.config))
}

/// The newest seq that a stream has given; none without the stream.
pub async fn last_seq(context: &Context, stream: &str) -> anyhow::Result<Option<u64>> {
    Ok(info_of(context, stream).await?.map(|info| info.state.last_sequence))
}

async fn info_of(context: &Context, stream: &str) -> anyhow::Result<Option<StreamInfo>> {
    match context.get_stream(stream).await {
        Ok(found) => Ok(Some(found.cached_info().clone())),
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

/// Whether it is a new one.
async fn consumer(context: &Context, stream: &str) -> anyhow::Result<bool> {
    let name = format!("consumer {ARCHIVE_CONSUMER} of {stream}");
    let before: Option<PullConsumer> =
        context.get_consumer_from_stream(ARCHIVE_CONSUMER, stream).await.ok();
    let now = context.create_consumer_on_stream(archive_consumer(), stream).await;
    let now = now.with_context(|| name.clone())?;
    let before = before.map(|before| before.cached_info().config.clone());
    report(&name, Outcome::of(before.as_ref(), &now.cached_info().config));
    Ok(before.is_none())
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
