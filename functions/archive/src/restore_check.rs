//! Detects a stream or a database that was restored from a backup without the other. Archiving from a stream that is
//! behind the database, or purging one that the database is behind, would lose events.

use protocol::Seq;
use store::stream_log;

use super::{Archive, ArchivedShard};

impl Archive {
    /// Fails if stream and database do not fit together.
    pub(crate) async fn check_restore(&self, shard: &ArchivedShard) -> anyhow::Result<()> {
        let (database, high_water) = (&self.store.database, self.store.log.high_water());
        let of = shard.stream.shard();
        let stream = of.stream();
        // Read before the database: a batch is stored before it is acknowledged.
        let acknowledged = shard.mover.progress().await?.acknowledged;
        let stored = stream_log::stored(database, of).await?;
        high_water.raise(of, stored.unwrap_or_default());
        let last = self.store.log.last_seq(of).await?;
        high_water.set_behind(of, last.is_none_or(|last| last < high_water.highest(of)));
        anyhow::ensure!(
            !high_water.is_behind(of),
            "stream {stream} is behind the database; run `provision --advance`"
        );
        let is_ahead = match stored {
            Some(stored) => acknowledged > stored,
            None => acknowledged > Seq::ZERO && stream_log::is_empty(database).await?,
        };
        metrics::gauge!("chat_database_behind", "stream" => stream.clone())
            .set(f64::from(is_ahead));
        anyhow::ensure!(
            !is_ahead,
            "the database is behind stream {stream}, which was archived up to {acknowledged}; restore \
             it, then run `provision --replay`"
        );
        Ok(())
    }
}
