//! The archive as a long-running process: archiving, sweeps, purges and message lookups run concurrently.

use std::time::{Duration, Instant};

use store::message_lookup;
use tokio_util::sync::CancellationToken;

use super::{Archive, ArchivedShard};

/// Interval of the sweeps.
const SWEEP_EVERY: Duration = Duration::from_secs(2);
/// Interval of checking a stream's size. Short, because a full stream accepts nothing until it is purged.
const PURGE_EVERY: Duration = Duration::from_secs(1);
/// Interval of comparing stream and database.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// Delay after a failed batch.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long a batch may take to finish after the shutdown signal. Otherwise it is delivered again.
const FINISH_WITHIN: Duration = Duration::from_secs(5);

impl Archive {
    /// Runs until `shutdown`, and finishes the current batch.
    pub async fn follow(self, shutdown: CancellationToken) {
        let moving = self.shards.iter().map(|shard| self.follow_shard(shard, &shutdown));
        let late = async {
            shutdown.cancelled().await;
            tokio::time::sleep(FINISH_WITHIN).await;
        };
        tokio::select! {
            _ = futures_util::future::join_all(moving) => {}
            () = self.follow_sweeps() => {}
            () = self.answer_lookups(&shutdown) => {}
            () = self.follow_purges() => {}
            () = late => tracing::warn!("a batch did not finish in time; it will be delivered again"),
        }
        self.store.database.close().await;
    }

    /// Never returns, so that the current batch can finish after `shutdown`.
    async fn answer_lookups(&self, shutdown: &CancellationToken) {
        let (client, store) = (self.client.clone(), self.store.clone());
        message_lookup::answer(client, store, shutdown.clone()).await;
        std::future::pending().await
    }

    async fn follow_shard(&self, shard: &ArchivedShard, shutdown: &CancellationToken) {
        let mut checked_at: Option<Instant> = None;
        while !shutdown.is_cancelled() {
            let moved = async {
                if checked_at.is_none_or(|at| at.elapsed() >= CHECK_EVERY) {
                    self.check_restore(shard).await?;
                    checked_at = Some(Instant::now());
                }
                shard.mover.move_batch(&self.store.database).await
            };
            if let Err(error) = moved.await {
                checked_at = None;
                tracing::warn!(error = format!("{error:#}"), "cannot archive events; retrying");
                shutdown.run_until_cancelled(tokio::time::sleep(RETRY_AFTER)).await;
            }
        }
    }

    async fn follow_sweeps(&self) {
        loop {
            self.store.database.report_pool();
            if let Err(error) = self.sweep().await {
                tracing::warn!(error = format!("{error:#}"), "a sweep failed in part; retrying");
            }
            tokio::time::sleep(SWEEP_EVERY).await;
        }
    }

    /// Separate from the sweeps, because a long deletion must not delay the purge of a full stream.
    async fn follow_purges(&self) {
        loop {
            if let Err(error) = self.purge().await {
                tracing::warn!(error = format!("{error:#}"), "a purge failed in part; retrying");
            }
            tokio::time::sleep(PURGE_EVERY).await;
        }
    }
}
