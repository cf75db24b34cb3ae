//! Purge marks: the seqs from which on streams still hold all events. Stored in the bucket [`PURGED_BUCKET`],
//! by room and by stream.

use protocol::{
    RoomId, Seq,
    subject::{self, PURGED_BUCKET, Shard},
};

use super::RoomLog;
use crate::log_error::LogError;

impl RoomLog {
    /// The seq after which the stream holds all events of the room. Events up to it may have been purged, or
    /// lost with an older stream. [`Seq::ZERO`] if none was.
    ///
    /// Callers must read the mark after the events: a mark is written before the purge, so events read after
    /// the mark's seq are complete.
    pub async fn oldest_kept(&self, room: RoomId) -> Result<Seq, LogError> {
        let keys = [room.to_string(), self.shards.of(room).stream()];
        let mut oldest = Seq::ZERO;
        for mark in self.purged.values(&keys).await? {
            oldest = parse(&mark)?.max(oldest);
        }
        Ok(oldest)
    }

    /// Marks that a shard's stream holds no event of any room up to `seq`. See [`Self::oldest_kept`].
    pub async fn begins_at(&self, shard: Shard, seq: Seq) -> Result<(), LogError> {
        let key = subject::bucket_put(PURGED_BUCKET, &shard.stream());
        let id = format!("{}:{seq}", shard.stream());
        self.publish(key, &id, seq.to_string().into(), None).await?.stored().await.map(drop)
    }

    /// Marks that events of the room before `seq` are about to be purged. `seq` is an event of the room,
    /// which stays. See [`Self::oldest_kept`].
    ///
    /// A mark never decreases, even if a database that was restored from a backup requests an older one.
    /// Callers must not call this concurrently for one room.
    pub async fn keep_from(&self, room: RoomId, seq: Seq) -> Result<(), LogError> {
        if self.oldest_kept(room).await? >= seq {
            return Ok(());
        }
        let key = subject::bucket_put(PURGED_BUCKET, &room.to_string());
        let payload = seq.to_string().into();
        self.publish(key, &format!("{room}:{seq}"), payload, None).await?.stored().await.map(drop)
    }
}

/// The value of a key.
fn parse(value: &[u8]) -> Result<Seq, LogError> {
    let seq = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    seq.ok_or(LogError::Unavailable("a purge mark cannot be parsed".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purge_mark_is_decimal_and_other_values_are_errors() {
        assert_eq!(parse(b"0").ok(), Some(Seq::ZERO));
        assert_eq!(parse(Seq::MAX.to_string().as_bytes()).ok(), Some(Seq::MAX));
        for value in ["", "-1", "7 ", "0x7", "\u{0667}", "18446744073709551616"] {
            assert!(parse(value.as_bytes()).is_err(), "{value}");
        }
    }
}
