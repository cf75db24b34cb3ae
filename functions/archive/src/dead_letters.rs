//! Dead letters: messages of a stream that can never be stored go to a stream of their own, so that they
//! hold up nothing else.

use std::time::Duration;

use async_nats::jetstream::Message;
use protocol::{Seq, subject::Stored};
use service::stream::ShardStream;

use super::entry::Reason;

/// A dead letter that could not be parked comes again after this time,
const PARK_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// so often. Then it is dropped, with a line in the log: it must not hold up the shard for ever.
const PARK_TRIES: i64 = 5;

/// Parks what can never be stored. Returns what could not be parked and comes again.
pub async fn park(
    stream: &ShardStream,
    messages: &[Message],
    dead: &[(Seq, Reason)],
) -> Vec<(Seq, Duration)> {
    let mut again = Vec::new();
    for message in messages.iter().filter(|_| !dead.is_empty()) {
        let Ok(info) = message.info() else { continue };
        let Ok(seq) = Seq::try_from(info.stream_sequence) else { continue };
        let Some((_, reason)) = dead.iter().find(|(dead, _)| *dead == seq) else { continue };
        let (subject, reason) = (message.subject.as_str(), reason.code());
        let parked = stream.park(seq, subject, reason, &message.payload).await;
        let is_parked = parked.is_ok();
        if let Err(error) = parked {
            tracing::error!(subject, %seq, reason, %error, "a dead letter could not be parked");
            if info.delivered < PARK_TRIES {
                again.push((seq, PARK_AGAIN_AFTER));
                continue;
            }
        }
        tracing::error!(subject, %seq, reason, is_parked, "an event cannot be stored");
        metrics::counter!("archive_dead_letters_total", "reason" => reason).increment(1);
        if Stored::parse(subject).is_none()
            && let Err(error) = stream.purge_foreign(subject).await
        {
            tracing::warn!(subject, %error, "what belongs to no room stays in the stream");
        }
    }
    again
}
