//! What a room missed is read from the stream; where the stream no longer has it, everybody is told.

use protocol::Seq;
use service::roomlog::{Entry, LogError};
use tokio::time::{Duration, Instant};

use super::{
    Room, ends_room,
    replay::{PAGE, is_whole},
    ring::Ring,
};
use crate::{batch::BatchBuilder, command::WorkerCommand};

/// Events fetched from the stream by one request.
const FETCH: usize = 256;
/// After a failed fetch.
const FETCH_AGAIN_AFTER: Duration = Duration::from_millis(500);

impl Room {
    /// Asks the stream whether something is missing. Its newest event of a room is an index entry of
    /// the server's; the ones after some seq are a search, which thousands of rooms must not start at
    /// once.
    pub(super) async fn look(&mut self) {
        match self.context.bus.log().last(self.id).await {
            Ok(None) if self.ring.last() > Seq::ZERO => self.look_at_mark().await,
            Ok(newest) if newest.as_ref().is_none_or(|entry| entry.seq <= self.ring.last()) => {}
            Ok(_) => self.catch_up().await,
            Err(error) => {
                tracing::warn!(room = %self.id, %error, "the newest event cannot be read yet");
                self.look_soon();
            }
        }
    }

    /// The stream has nothing of a room that had something: all of it was purged, or it is another
    /// stream. The marks say whether anything is missing.
    async fn look_at_mark(&mut self) {
        let begun = match self.context.bus.log().oldest_kept(self.id).await {
            Ok(oldest_kept) if is_whole(self.ring.last(), oldest_kept) => Ok(()),
            Ok(oldest_kept) => self.begin_anew(oldest_kept).await,
            Err(error) => Err(error),
        };
        if let Err(error) = begun {
            tracing::warn!(room = %self.id, %error, "the room's mark cannot be read yet");
            self.look_soon();
        }
    }

    /// Sets the last look, unless a failure has set one.
    pub(super) fn look_until_settled(&mut self) {
        if Instant::now() < self.settled_at {
            self.look_at.get_or_insert(self.settled_at);
        }
    }

    /// The room was deleted, and the stream has no event that says so any more. The room's sockets leave it and are told
    /// when they want to join again.
    pub(super) async fn end_without_last_event(&mut self) {
        self.look().await;
        if !self.is_deleted {
            self.send_to_workers(|room| WorkerCommand::Lag { room }).await;
            self.is_deleted = true;
        }
    }

    pub(super) fn look_soon(&mut self) {
        self.look_at = Some(Instant::now() + FETCH_AGAIN_AFTER);
    }

    /// Reads everything after the last delivered event from the stream and delivers it.
    pub(super) async fn catch_up(&mut self) {
        if let Err(error) = self.read_on().await {
            tracing::warn!(room = %self.id, %error, "missing events cannot be read yet");
            self.look_soon();
        }
    }

    async fn read_on(&mut self) -> Result<(), LogError> {
        let mut after = self.ring.last();
        loop {
            let log = self.context.bus.log();
            let entries = log.page_after(self.id, after, FETCH, PAGE).await?;
            // Also past one that cannot be delivered.
            let Some(read_until) = entries.last().map(|entry| entry.seq) else { return Ok(()) };
            // A gateway that was away for longer than the stream keeps events finds only the newer
            // ones. Asked after them, so that what this does not tell of was there.
            let oldest_kept = log.oldest_kept(self.id).await?;
            if !is_whole(after, oldest_kept) {
                return self.begin_anew(oldest_kept).await;
            }
            after = read_until;
            metrics::counter!("gateway_hole_events_total").increment(entries.len() as u64);
            let mut batch = BatchBuilder::default();
            for Entry { seq, payload } in &entries {
                self.take(*seq, payload, &mut batch).await;
            }
            self.deliver(batch).await;
            if self.is_deleted {
                return Ok(());
            }
        }
    }

    /// Some of what is missing is no longer in the stream. Going on with what is there would hide it
    /// from clients: the next event's `prev` is the last one that they were delivered. So all leave
    /// the room like a socket that was too slow, join again and are told that they must page.
    async fn begin_anew(&mut self, oldest_kept: Seq) -> Result<(), LogError> {
        let newest = self.context.bus.log().last(self.id).await?;
        if let Some(entry) = newest.as_ref().filter(|entry| ends_room(self.id, entry)) {
            // There is nothing left to page.
            self.take(entry.seq, &entry.payload, &mut BatchBuilder::default()).await;
            return Ok(());
        }
        // A replica that lags behind may not even show the oldest one that is kept.
        let head = newest.map_or(oldest_kept, |entry| entry.seq.max(oldest_kept));
        tracing::warn!(
            room = %self.id,
            last = %self.ring.last(),
            %head,
            "missed events are no longer in the stream; the room's sockets must join again"
        );
        self.send_to_workers(|room| WorkerCommand::Lag { room }).await;
        self.ring = Ring::new(head);
        Ok(())
    }
}
