//! Errors of the room log, and of other data in JetStream.

use std::{borrow::Cow, fmt::Display};

/// A request to store or read data in JetStream failed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// No connection, or no answer in time. It is unknown whether an event was stored: a retry with the same
    /// idempotency key is safe.
    #[error("NATS did not answer: {0}")]
    Unavailable(Cow<'static, str>),
    /// The stream is at its size limit and stores nothing until the archive has purged it.
    #[error("the stream is full")]
    Full,
}

pub(crate) fn unavailable(error: impl Display) -> LogError {
    LogError::Unavailable(error.to_string().into())
}
