//! Creates and updates streams, their durable consumers, and key-value buckets.

use anyhow::Context as _;
use async_nats::{
    Client,
    jetstream::{self, Context},
};
use protocol::subject::{ARCHIVE_CONSUMER, DEAD_STREAM, Shard};
use service::roomlog::RoomLog;
use store::db::Database;

use crate::{
    config::{Recovery, StreamsConfig},
    jetstream::{archive_consumer, config_of, create_or_update},
    report::{Outcome, report},
    sequences::Sequences,
    stream_configs::{self, BUCKETS},
};

/// Without a database, the streams cannot be checked for sequences that go backwards.
pub async fn provision(
    client: &Client,
    config: &StreamsConfig,
    database: Option<&Database>,
    recovery: Recovery,
) -> anyhow::Result<()> {
    let context = jetstream::new(client.clone());
    let sequences = match database {
        Some(database) => {
            let log = RoomLog::new(client.clone(), config.shards);
            let sequences =
                Sequences::read(database, log, &context, config.shards, recovery).await?;
            sequences.check_all().await?;
            Some(sequences)
        }
        None => {
            tracing::warn!("the sequences of the streams are not compared with the database");
            None
        }
    };
    for bucket in &BUCKETS {
        let item = format!("key-value bucket {}", bucket.name);
        let wanted = stream_configs::bucket(bucket, config.replicas);
        create_or_update(&context, &item, wanted).await?;
    }
    for shard in config.shards.all() {
        provision_shard(&context, shard, config, sequences.as_ref()).await?;
    }
    let dead_letters = stream_configs::dead_letters(config.replicas);
    create_or_update(&context, &format!("stream {DEAD_STREAM}"), dead_letters).await
}

/// Provisions the stream of a shard and the archive's consumer of it.
async fn provision_shard(
    context: &Context,
    shard: Shard,
    config: &StreamsConfig,
    sequences: Option<&Sequences<'_>>,
) -> anyhow::Result<()> {
    let mut wanted = stream_configs::events(shard, config);
    let name = wanted.name.clone();
    let mut before = config_of(context, &name).await?;
    let mut needs_replay = false;
    if let Some(sequences) = sequences {
        if before.is_some() {
            needs_replay = sequences.needs_replay(shard).await?;
        }
        if before.is_some() && sequences.stream_behind(shard).await?.is_some() {
            context.delete_stream(&name).await.with_context(|| format!("stream {name}"))?;
            tracing::warn!("stream {name}: was behind the database and is recreated");
            before = None;
            // The consumer was deleted with the stream.
            needs_replay = false;
        }
        if before.is_none() {
            wanted.first_sequence = sequences.reserve_first_sequence(shard).await?.map(u64::from);
        }
    }
    if let Some(before) = &before {
        wanted.first_sequence = before.first_sequence;
    }
    let now = context.create_or_update_stream(wanted).await.with_context(|| {
        format!("stream {name} (it reserves STREAM_MAX_BYTES={})", config.stream_bytes)
    })?;
    report(&format!("stream {name}"), Outcome::of(before.as_ref(), &now.config));
    if needs_replay {
        let deleted = context.delete_consumer_from_stream(ARCHIVE_CONSUMER, &name).await;
        deleted.with_context(|| format!("consumer {ARCHIVE_CONSUMER} of {name}"))?;
        tracing::warn!("stream {name}: the archive reads all of its events again");
    }
    let is_new_consumer = provision_consumer(context, &name).await?;
    if let Some(sequences) = sequences {
        sequences.record_stored(shard, is_new_consumer).await?;
    }
    Ok(())
}

/// Returns whether the consumer is new.
async fn provision_consumer(context: &Context, stream: &str) -> anyhow::Result<bool> {
    let item = format!("consumer {ARCHIVE_CONSUMER} of {stream}");
    let before = archive_consumer(context, stream).await;
    let wanted = stream_configs::archive_consumer();
    let now = context.create_consumer_on_stream(wanted, stream).await;
    let now = now.with_context(|| item.clone())?;
    let before = before.map(|before| before.cached_info().config.clone());
    report(&item, Outcome::of(before.as_ref(), &now.cached_info().config));
    Ok(before.is_none())
}
