//! The errors of this crate.

use std::time::Duration;

use protocol::rate::OverBudget;
use service::roomlog::LogError;

use crate::db;

/// Too many attempts: the next one is admitted after this time.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many attempts; the next one is admitted in {wait:?}")]
pub struct Throttled {
    pub wait: Duration,
}

/// The queue of passwords to hash is full, or the wait for a slot timed out.
#[derive(Debug, thiserror::Error)]
#[error("too many passwords are being hashed")]
pub struct HashingBusy;

/// A user created too many rooms: the next one is allowed after this time.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many new rooms; the next one is allowed in {wait:?}")]
pub struct TooManyNewRooms {
    pub wait: Duration,
}

/// Why a search was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SearchRefused {
    #[error("too many searches of this user are running")]
    TooManyOfUser,
    #[error("too many searches are running")]
    TooMany,
}

/// Why an upload is not completed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UploadRefused {
    #[error("the file has not been uploaded")]
    NotUploaded,
    #[error("the upload differs from its declaration: {0}; it was removed")]
    Mismatch(String),
}

/// The storage did not answer, or answered with an error. The cause is logged.
#[derive(Debug, thiserror::Error)]
#[error("the object storage failed to {0}")]
pub struct StorageUnavailable(pub(crate) &'static str);

/// Every failure of this crate. Database errors are classified here, once for all callers.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No connection, or a temporary condition: a retry may succeed.
    #[error("the database is not available: {0}")]
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
    Upload(#[from] UploadRefused),
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
    /// A bug, or a stored value that cannot be read.
    #[error(transparent)]
    Internal(anyhow::Error),
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
