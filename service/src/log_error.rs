//! Errors of the room log and of everything else that JetStream stores.

use std::{borrow::Cow, fmt::Display};

/// JetStream did not store or return what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// No connection, or no answer in time. An event that was being stored may or may not be stored: a
    /// retry with the same idempotency key is safe.
    #[error("NATS did not answer: {0}")]
    Unavailable(Cow<'static, str>),
    /// The stream is at its size limit and takes nothing until the archive has purged it.
    #[error("the stream is full")]
    Full,
}

pub(crate) fn unavailable(error: impl Display) -> LogError {
    LogError::Unavailable(error.to_string().into())
}
