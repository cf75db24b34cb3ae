//! Why the store did not do what it was asked.

use protocol::rate::OverBudget;
use service::roomlog::LogError;

use crate::{
    budget::TooManyNewRooms, db, hash_queue::HashingBusy, searches::SearchRefused,
    storage::StorageUnavailable, throttle::Throttled,
};

/// Every failure of this crate. Errors of the database are classified here, once, for all callers.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No connection, or a condition that passes: a retry may succeed.
    #[error("the database does not answer: {0}")]
    DatabaseUnavailable(#[source] sqlx::Error),
    #[error("a statement took too long: {0}")]
    StatementTimeout(#[source] sqlx::Error),
    #[error(transparent)]
    Database(sqlx::Error),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Storage(#[from] StorageUnavailable),
    #[error(transparent)]
    HashingBusy(#[from] HashingBusy),
    #[error(transparent)]
    Throttled(#[from] Throttled),
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
    #[error(transparent)]
    TooManyNewRooms(#[from] TooManyNewRooms),
    #[error(transparent)]
    SearchRefused(#[from] SearchRefused),
    /// A fault of ours, such as a stored value that cannot be read.
    #[error(transparent)]
    Internal(anyhow::Error),
}

impl StoreError {
    /// A value in the database that this version cannot read.
    pub fn corrupt(what: &str, error: impl std::fmt::Display) -> Self {
        Self::Internal(anyhow::anyhow!("a stored {what}: {error}"))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if db::is_timeout(&error) {
            return Self::StatementTimeout(error);
        }
        if db::is_unavailable(&error) {
            return Self::DatabaseUnavailable(error);
        }
        Self::Database(error)
    }
}
