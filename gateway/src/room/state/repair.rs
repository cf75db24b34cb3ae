//! Repair of gaps: events that a room missed are read from the stream. If the stream no longer has them, all
//! sockets get `lag` and must join again.

use protocol::Seq;
use service::roomlog::{Entry, LogError};
use tokio::time::{Duration, Instant};

use super::{
    Room, ends_room,
    replay::{PAGE, is_complete},
};
use crate::{batch::BatchBuilder, command::WorkerCommand, room::ring::Ring};

/// Events read from the stream by one request.
const FETCH: usize = 256;
/// How long to wait after a failed read.
const FETCH_AGAIN_AFTER: Duration = Duration::from_millis(500);

impl Room {
    /// Checks in the stream whether events are missing. Reads the newest event first: for the server that is an
    /// index lookup, but reading events after a seq is a search, which thousands of rooms must not start at
    /// once.
    pub async fn check_stream(&mut self) {
        match self.context.bus.log().last(self.id).await {
            Ok(None) if self.ring.last() > Seq::ZERO => self.check_purge_mark().await,
            Ok(newest) if newest.as_ref().is_none_or(|entry| entry.seq <= self.ring.last()) => {}
            Ok(_) => self.catch_up().await,
            Err(error) => {
                tracing::warn!(room = %self.id, %error, "the newest event cannot be read yet");
                self.check_soon();
            }
        }
    }

    /// Called if the stream has no event of a room that had some: all were purged, or the stream is new. The
    /// purge marks show whether events are missing.
    async fn check_purge_mark(&mut self) {
        let begun = match self.context.bus.log().oldest_kept(self.id).await {
            Ok(oldest_kept) if is_complete(self.ring.last(), oldest_kept) => Ok(()),
            Ok(oldest_kept) => self.restart(oldest_kept).await,
            Err(error) => Err(error),
        };
        if let Err(error) = begun {
            tracing::warn!(room = %self.id, %error, "the room's purge mark cannot be read yet");
            self.check_soon();
        }
    }

    /// Schedules the last check, unless a failure has scheduled one.
    pub fn check_until_settled(&mut self) {
        if Instant::now() < self.settled_at {
            self.check_at.get_or_insert(self.settled_at);
        }
    }

    /// Called if a deleted room's last event did not arrive. The room's sockets leave it with `lag`, and get
    /// `room-deleted` when they join again.
    pub async fn end_without_last_event(&mut self) {
        self.check_stream().await;
        if !self.is_deleted {
            self.send_to_workers(|room| WorkerCommand::Lag { room }).await;
            self.is_deleted = true;
        }
    }

    pub fn check_soon(&mut self) {
        self.check_at = Some(Instant::now() + FETCH_AGAIN_AFTER);
    }

    /// Reads and delivers all events after the last delivered one.
    pub async fn catch_up(&mut self) {
        if let Err(error) = self.read_on().await {
            tracing::warn!(room = %self.id, %error, "missing events cannot be read yet");
            self.check_soon();
        }
    }

    async fn read_on(&mut self) -> Result<(), LogError> {
        let mut after = self.ring.last();
        loop {
            let log = self.context.bus.log();
            let entries = log.page_after(self.id, after, FETCH, PAGE).await?;
            // The seq of the last entry, even if that entry cannot be delivered.
            let Some(read_until) = entries.last().map(|entry| entry.seq) else { return Ok(()) };
            // A gateway that was disconnected for longer than the stream keeps events finds only newer ones.
            // The purge mark is read after the events, because events that it does not cover were not purged
            // before.
            let oldest_kept = log.oldest_kept(self.id).await?;
            if !is_complete(after, oldest_kept) {
                return self.restart(oldest_kept).await;
            }
            after = read_until;
            metrics::counter!("chat_gateway_gap_events_total").increment(entries.len() as u64);
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

    /// Called if some missing events are no longer in the stream. Delivering the rest would hide the gap from
    /// clients, because the next event's `prev` would be the last one that they received. So all sockets leave
    /// the room with `lag`; when they join again, they get `recovered: false` and read the history over HTTP.
    async fn restart(&mut self, oldest_kept: Seq) -> Result<(), LogError> {
        let newest = self.context.bus.log().last(self.id).await?;
        if let Some(entry) = newest.as_ref().filter(|entry| ends_room(self.id, entry)) {
            // The room was deleted, so there is no history to read.
            self.take(entry.seq, &entry.payload, &mut BatchBuilder::default()).await;
            return Ok(());
        }
        // A replica that lags behind may not have even the oldest kept event.
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
