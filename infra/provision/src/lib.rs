//! The release step: brings database, NATS and S3 storage to the state that this version needs. It is idempotent.
//! Servers never do this at their start.

mod config;
mod jetstream;
mod report;
mod s3_bucket;
mod sequences;
mod stream_configs;
mod streams;

use service::nats;
use store::{
    config::DatabaseConfig,
    db::{self, Database},
    refold,
    storage::Storage,
};

pub use self::config::{Config, Part, Recovery};
use self::report::{Outcome, report};

/// Provisions all configured parts. The database comes first, because the streams are compared with it.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let database = match &config.database {
        Some(database) => Some(migrate(database).await?),
        None => None,
    };
    if let Some(streams) = &config.streams {
        let client = nats::connect(&streams.nats, |_| {}).await?;
        streams::provision(&client, streams, database.as_ref(), config.recovery).await?;
    }
    if let Some(database) = database {
        database.close().await;
    }
    if let Some(bucket) = &config.bucket {
        let storage = Storage::new(&bucket.storage)?;
        s3_bucket::provision(&storage, &bucket.origins).await?;
    }
    Ok(())
}

async fn migrate(config: &DatabaseConfig) -> anyhow::Result<Database> {
    let database = Database::connect_to(config).await?;
    let (before, now) = db::migrate(&database).await?;
    refold::after_migrations(&database).await?;
    let before = (before > 0).then_some(before);
    report("schema", Outcome::of(before.as_ref(), &now));
    if !db::indexes_all_scripts(&database).await? {
        tracing::warn!(
            "the database's locale supports only ASCII letters: a search in another script reads all messages of a \
             room; create the database with a locale such as C.UTF-8"
        );
    }
    Ok(database)
}
