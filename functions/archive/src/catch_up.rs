//! Waits until everything that was acknowledged before is in the database: the first step of a backup.

use std::time::{Duration, Instant};

use super::{Archive, ArchivedShard, Config};

const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The wait fails if no event is archived for this long.
const STALLED_AFTER: Duration = Duration::from_secs(60);

/// Waits until another archive, which must be running, has archived every event that was stored before this call.
pub async fn wait_until_archived(config: &Config) -> anyhow::Result<()> {
    let archive = Archive::connect(config).await?;
    let mut result = Ok(());
    for shard in &archive.shards {
        result = result.and(archive.wait_for_shard(shard).await);
    }
    archive.store.database.close().await;
    result
}

impl Archive {
    async fn wait_for_shard(&self, shard: &ArchivedShard) -> anyhow::Result<()> {
        self.check_restore(shard).await?;
        let stream = shard.stream.shard();
        let last = self.store.log.last_seq(stream).await?;
        let last = last.ok_or_else(|| anyhow::anyhow!("no stream {}", stream.stream()))?;
        let mut moved_at = Instant::now();
        let mut before = shard.mover.progress().await?;
        loop {
            let now = shard.mover.progress().await?;
            // The last events may have been purged with their room: then their seqs are never acknowledged.
            if now.acknowledged >= last || now.is_complete {
                return Ok(());
            }
            if now.acknowledged > before.acknowledged {
                (before, moved_at) = (now, Instant::now());
            }
            anyhow::ensure!(
                moved_at.elapsed() < STALLED_AFTER,
                "the archive of {} stands still at {}, and events up to {last} are stored: does it run?",
                stream.stream(),
                now.acknowledged
            );
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}
