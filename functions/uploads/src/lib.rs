//! The event function for objects that were created in the storage. It completes the uploads of clients that vanished
//! before they asked for it, by the same rule as `POST /file/{id}/complete`. Every step can be repeated.

mod config;

use aws_lambda_events::s3::{S3Event, S3EventRecord};
use futures_util::future::join_all;
use protocol::FileId;
use serde::Serialize;
use service::{nats, roomlog::RoomLog, trace::TraceParent};
use store::{Store, StoreError, UploadRefused, db::Database, storage::Storage, uploads};

pub use self::config::Config;

/// The function with its connections.
pub struct Uploads {
    store: Store,
    storage: Storage,
}

/// How many objects of an event had each outcome.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub completed: usize,
    /// They differed from the declaration and were removed.
    pub refused: usize,
    /// They belong to no file, or the file was complete.
    pub ignored: usize,
}

enum Outcome {
    Completed,
    Refused,
    Ignored,
}

impl Uploads {
    /// Connects at the first event.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        let database = Database::open(&config.database, config.statement_within)?;
        let client = nats::connect_in_background(&config.nats, |_| {}).await?;
        let log = RoomLog::new(client, config.shards);
        let storage = Storage::new(&config.storage)?;
        Ok(Self { store: Store { database, log }, storage })
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Completes the uploads of an event side by side. An error has the failures of all objects: Lambda invokes the
    /// function again with the same event, and those that succeeded are ignored then.
    pub async fn handle(&self, event: S3Event) -> anyhow::Result<Counts> {
        let outcomes = event.records.iter().map(async |record| {
            let Some(key) = key_of(record) else { return Ok(Outcome::Ignored) };
            let outcome = self.complete(&key).await;
            outcome.map_err(|error| anyhow::Error::from(error).context(key))
        });
        let (mut counts, mut failures) = (Counts::default(), Vec::new());
        for outcome in join_all(outcomes).await {
            match outcome {
                Ok(Outcome::Completed) => counts.completed += 1,
                Ok(Outcome::Refused) => counts.refused += 1,
                Ok(Outcome::Ignored) => counts.ignored += 1,
                Err(failure) => failures.push(format!("{failure:#}")),
            }
        }
        anyhow::ensure!(
            failures.is_empty(),
            "{} of {} uploads could not be completed: {}",
            failures.len(),
            event.records.len(),
            failures.join("; ")
        );
        Ok(counts)
    }

    async fn complete(&self, key: &str) -> Result<Outcome, StoreError> {
        let Some(file) = file_of(key) else { return Ok(Outcome::Ignored) };
        let found = uploads::find(&self.store.database, file).await?;
        let is_waiting =
            |row: &uploads::FileRow| row.object_key == key && row.completed_at.is_none();
        let Some(row) = found.filter(is_waiting) else { return Ok(Outcome::Ignored) };
        match uploads::complete(&self.store, &self.storage, &row, TraceParent::root()).await {
            Ok(_) => Ok(Outcome::Completed),
            // It was deleted since, or the client's own call removed it.
            Err(StoreError::Upload(UploadRefused::NotUploaded)) => Ok(Outcome::Ignored),
            Err(StoreError::Upload(refused)) => {
                tracing::info!(%file, %refused, "an upload was refused");
                Ok(Outcome::Refused)
            }
            Err(error) => Err(error),
        }
    }
}

fn key_of(record: &S3EventRecord) -> Option<String> {
    let is_new = record.event_name.as_deref().is_some_and(|name| name.contains("ObjectCreated:"));
    // Our keys have no characters that S3 encodes in events.
    record.s3.object.key.clone().filter(|_| is_new)
}

/// The file of an object: the last part of its key.
fn file_of(key: &str) -> Option<FileId> {
    key.rsplit_once('/')?.1.parse().ok()
}
