//! Dead letters: stream messages that can never be stored. They are moved to the stream `DEAD`, so that they
//! block nothing else.

use std::time::Duration;

use async_nats::jetstream::Message;
use protocol::{Seq, subject::Stored};
use service::stream::ShardStream;

/// When a message is redelivered that could not be moved to `DEAD`.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// After so many deliveries the message is dropped and logged: it must not block the shard for ever.
const MAX_DELIVERIES: i64 = 5;

/// Why a message can never be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadLetterReason {
    /// Its subject names no room.
    NoRoom,
    /// Its payload is no event of this version: broken JSON, an unknown kind, a value out of range.
    NotAnEvent,
    /// It changes a message that did not exist when it was published.
    NoTarget,
    /// The database rejects its values.
    RefusedByDatabase,
}

impl DeadLetterReason {
    /// The stable code in metrics and headers.
    pub fn code(self) -> &'static str {
        match self {
            Self::NoRoom => "no-room",
            Self::NotAnEvent => "not-an-event",
            Self::NoTarget => "no-target",
            Self::RefusedByDatabase => "refused-by-database",
        }
    }
}

/// Moves messages to `DEAD`. Returns those for which that failed, with the delay of their redelivery.
pub async fn park(
    stream: &ShardStream,
    messages: &[Message],
    dead: &[(Seq, DeadLetterReason)],
) -> Vec<(Seq, Duration)> {
    let mut redelivered = Vec::new();
    for message in messages.iter().filter(|_| !dead.is_empty()) {
        let Ok(info) = message.info() else { continue };
        let Ok(seq) = Seq::try_from(info.stream_sequence) else { continue };
        let Some((_, reason)) = dead.iter().find(|(dead, _)| *dead == seq) else { continue };
        let (subject, reason) = (message.subject.as_str(), reason.code());
        let parked = stream.park(seq, subject, reason, &message.payload).await;
        let is_parked = parked.is_ok();
        if let Err(error) = parked {
            tracing::error!(subject, %seq, reason, %error, "cannot move a dead letter to stream DEAD");
            if info.delivered < MAX_DELIVERIES {
                redelivered.push((seq, RETRY_AFTER));
                continue;
            }
        }
        tracing::error!(subject, %seq, reason, is_parked, "an event cannot be stored");
        metrics::counter!("chat_archive_dead_letters_total", "reason" => reason).increment(1);
        if Stored::parse(subject).is_none()
            && let Err(error) = stream.purge_foreign(subject).await
        {
            tracing::warn!(subject, %error, "cannot purge a subject that belongs to no room");
        }
    }
    redelivered
}
