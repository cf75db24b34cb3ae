//! The log of stored events by room: the only code that appends to JetStream and reads from it.

mod append;
mod marks;
mod read;

use std::time::Duration;

use async_nats::{
    Client,
    jetstream::{self, ErrorCode, context::GetStreamErrorKind},
};
use protocol::{
    RoomId, Seq,
    subject::{JETSTREAM_API, PURGED_BUCKET, Shard, Shards},
};

use tokio::time::timeout;

pub use self::{
    append::{Appended, Pending, PendingEvent},
    read::Entry,
};
pub use crate::log_error::LogError;
use crate::{
    bucket::Bucket, direct::DirectGet, high_water::HighWater, log_error::unavailable,
    nats::ANSWER_WITHIN,
};

/// Time limit of the request that finds a broken connection. Answers usually take a few milliseconds.
const ALIVE_WITHIN: Duration = Duration::from_millis(300);

/// The logs of all rooms. Cheap to clone.
#[derive(Clone)]
pub struct RoomLog {
    client: Client,
    stored: DirectGet,
    purged: Bucket,
    context: jetstream::Context,
    /// JetStream's API under the prefix by which accounts other than its own reach it.
    api: jetstream::Context,
    shards: Shards,
    high_water: HighWater,
}

impl RoomLog {
    /// The log, accessed through one connection.
    pub fn new(client: Client, shards: Shards) -> Self {
        let context = jetstream::context::ContextBuilder::new()
            .timeout(ANSWER_WITHIN)
            .ack_timeout(ANSWER_WITHIN)
            .build(client.clone());
        let api = jetstream::with_prefix(client.clone(), JETSTREAM_API);
        let stored = DirectGet::new(client.clone());
        let purged = Bucket::new(stored.clone(), PURGED_BUCKET);
        let high_water = HighWater::new(shards);
        Self { client, stored, purged, context, api, shards, high_water }
    }

    /// The same log with the high-water marks of another one: connections of one process share them.
    pub fn sharing(self, high_water: HighWater) -> Self {
        Self { high_water, ..self }
    }

    /// The high-water marks of this process.
    pub fn high_water(&self) -> &HighWater {
        &self.high_water
    }

    /// How rooms are spread over streams.
    pub fn shards(&self) -> Shards {
        self.shards
    }

    /// Fails while the room's stream is behind ([`HighWater`]): an event stored now would be lost.
    pub fn check(&self, room: RoomId) -> Result<(), LogError> {
        let shard = self.shards.of(room);
        if self.high_water.is_behind(shard) { Err(behind(shard)) } else { Ok(()) }
    }

    /// Compares each stream's newest seq with its high-water mark, and updates whether it is behind. A missing
    /// stream is behind if its high-water mark is above zero.
    pub async fn look_at_streams(&self) -> Result<(), LogError> {
        for shard in self.shards.all() {
            let known = self.high_water.highest(shard);
            if known == Seq::ZERO {
                continue;
            }
            let last = self.last_seq(shard).await?;
            self.high_water.set_behind(shard, last.is_none_or(|last| last < known));
        }
        Ok(())
    }

    /// Connects again if NATS does not answer on this connection. It may have been dropped without notice while the
    /// process was frozen, which the client would find out only after several pings.
    pub async fn reconnect_unless_alive(&self) {
        let Some(shard) = self.shards.all().next() else { return };
        // Not `flush`, which writes to the connection and waits for no answer.
        if timeout(ALIVE_WITHIN, self.last_seq(shard)).await.is_err() {
            tracing::info!("NATS does not answer after a pause; reconnecting");
            // Fails only if the client was closed.
            let _ = self.client.force_reconnect().await;
        }
    }

    /// The newest seq of a shard's stream; `None` if there is no such stream.
    pub async fn last_seq(&self, shard: Shard) -> Result<Option<Seq>, LogError> {
        match self.api.get_stream(shard.stream()).await {
            Ok(stream) => {
                let last = stream.cached_info().state.last_sequence;
                Seq::try_from(last).map(Some).map_err(unavailable)
            }
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(refusal)
                    if refusal.error_code() == ErrorCode::STREAM_NOT_FOUND =>
                {
                    Ok(None)
                }
                _ => Err(unavailable(error)),
            },
        }
    }
}

fn behind(shard: Shard) -> LogError {
    let stream = shard.stream();
    LogError::Unavailable(format!("{stream} is behind; run `provision --advance`").into())
}
