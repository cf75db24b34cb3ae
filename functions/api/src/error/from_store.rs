//! Errors of the store as errors of a request.

use service::roomlog::LogError;
use store::{SearchRefused, StoreError, Throttled, TooManyNewRooms, UploadRefused};

use super::ApiError;

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::DatabaseUnavailable(error) => {
                tracing::warn!(%error, "the database does not answer");
                Self::Unavailable("the database")
            }
            StoreError::StatementTimeout(error) => {
                tracing::warn!(%error, "a database statement took too long");
                Self::Timeout
            }
            StoreError::Database(error) => Self::Internal(error.into()),
            StoreError::Log(error) => {
                tracing::warn!(%error, "the message log refused or did not answer");
                match error {
                    LogError::Unavailable(_) => Self::Unavailable("the message log"),
                    LogError::Full => Self::StorageFull,
                }
            }
            // The storage client has logged the cause.
            StoreError::Storage(_) => Self::Unavailable("the storage"),
            StoreError::Upload(UploadRefused::NotUploaded) => Self::NotUploaded,
            StoreError::Upload(UploadRefused::Mismatch(detail)) => Self::FileMismatch(detail),
            StoreError::HashingBusy(_) | StoreError::SearchRefused(SearchRefused::TooMany) => {
                Self::Busy
            }
            StoreError::SearchRefused(SearchRefused::TooManyOfUser) => Self::TooManySearches,
            StoreError::Throttled(Throttled { wait }) => Self::TooManyAttempts(wait),
            StoreError::OverBudget(over) => Self::OverBudget(over),
            StoreError::TooManyNewRooms(TooManyNewRooms { wait }) => Self::TooManyNewRooms(wait),
            StoreError::Internal(error) => Self::Internal(error),
        }
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        StoreError::from(error).into()
    }
}

impl From<LogError> for ApiError {
    fn from(error: LogError) -> Self {
        StoreError::from(error).into()
    }
}

impl From<SearchRefused> for ApiError {
    fn from(error: SearchRefused) -> Self {
        StoreError::from(error).into()
    }
}
