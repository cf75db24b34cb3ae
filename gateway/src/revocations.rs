//! Watches the bucket of revocations without missing any, and sends commands about them to workers and rooms.
//!
//! New entries arrive as messages. When messages may have been lost, the whole bucket is read again. In
//! addition, new entries are polled every [`POLL_EVERY`]. All entries are read in order, not only the last one
//! of each key, because the outbox may write an older state after a newer one: the version in the value
//! decides.

use std::time::Duration;

use futures_util::StreamExt as _;
use protocol::{Seq, limits, subject::Revoked};
use service::{bucket::BucketEntry, roomlog::LogError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    bus::Bus,
    command::{RoomCommand, WorkerCommand, Workers},
    revoked::{Revocation, RevokedSet},
    room::Rooms,
};

/// Entries read by one request.
const READ_AT_ONCE: usize = 1_024;
/// How long to wait after a failure.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// In a NATS cluster a new subscription takes a moment to reach all servers, and a replica may lag behind. One
/// more read after this time finds entries that were put in that moment.
const POLL_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// How long a silent loss of messages may go unnoticed. Each poll costs one request.
const POLL_EVERY: Duration = Duration::from_secs(60);

/// The age up to which an entry cannot have expired from the bucket.
const SURELY_KEPT: Duration = Duration::from_secs(limits::REVOKED_SECONDS / 2);

/// The revocation of a token that was presented less than this ago is still in the bucket, because the token
/// was issued at most one token lifetime before that.
const RECENTLY_SHOWN: Duration =
    Duration::from_secs(limits::REVOKED_SECONDS - *limits::TOKEN_SECONDS.end() as u64);

/// See the module.
pub struct Revocations {
    bus: Bus,
    set: RevokedSet,
    workers: Workers,
    rooms: Rooms,
    /// How old [`Known::at`] may be before sockets must authenticate again.
    unseen_at_most: Duration,
    known: Known,
}

/// The part of the bucket that was read.
struct Known {
    /// The newest entry; [`Seq::ZERO`] for none.
    seq: Seq,
    /// When that entry arrived as a message. None if it was read from the bucket: its age is unknown then.
    heard_at: Option<Instant>,
    /// All revocations before this time are known.
    at: Instant,
}

impl Known {
    fn add(&mut self, seq: Seq, heard_at: Option<Instant>) {
        if seq > self.seq {
            (self.seq, self.heard_at) = (seq, heard_at);
        }
    }
}

impl Revocations {
    pub fn new(
        bus: Bus,
        set: RevokedSet,
        workers: Workers,
        rooms: Rooms,
        unseen_at_most: Duration,
    ) -> Self {
        let known = Known { seq: Seq::ZERO, heard_at: None, at: Instant::now() };
        Self { bus, set, workers, rooms, unseen_at_most, known }
    }

    /// Watches until `ended`.
    pub async fn run(mut self, ended: CancellationToken) {
        let watching = async {
            loop {
                if let Err(error) = self.watch().await {
                    tracing::warn!(%error, "the revocations cannot be read");
                }
                tokio::time::sleep(RETRY_AFTER).await;
            }
        };
        ended.run_until_cancelled(watching).await;
    }

    async fn watch(&mut self) -> Result<(), LogError> {
        let mut disturbed = self.bus.disturbed();
        disturbed.mark_unchanged();
        // Subscribes first and reads after, so that no entry between the two is missed.
        let mut news = self.bus.revocation_news().await?;
        self.read_all().await?;
        let mut poll_at = Instant::now() + POLL_AGAIN_AFTER;
        loop {
            tokio::select! {
                entry = news.next() => match entry {
                    Some(entry) => {
                        self.known.add(entry.seq, Some(Instant::now()));
                        self.add(entry).await;
                    }
                    None => return Err(LogError::Unavailable("the subscription ended".into())),
                },
                Ok(()) = disturbed.changed() => {
                    self.read_all().await?;
                    poll_at = Instant::now() + POLL_AGAIN_AFTER;
                }
                () = tokio::time::sleep_until(poll_at) => {
                    self.read_after(self.known.seq).await?;
                    poll_at = Instant::now() + POLL_EVERY;
                }
            }
        }
    }

    /// Reads the whole bucket. The gateway is not ready until this is done.
    async fn read_all(&mut self) -> Result<(), LogError> {
        self.set.set_complete(false);
        let (before, heard_at) = (self.known.seq, self.known.heard_at);
        self.known.seq = Seq::ZERO;
        let read = self.read_after(Seq::ZERO).await;
        let newest = self.known.seq;
        self.known.add(before, heard_at);
        read?;
        let is_kept = heard_at.is_some_and(|at| at.elapsed() < SURELY_KEPT);
        if newest < before && is_kept {
            tracing::warn!("the bucket of revocations has lost entries");
            self.reauthenticate(Some(Instant::now())).await;
            self.known.seq = newest;
        }
        self.set.set_complete(true);
        Ok(())
    }

    async fn read_after(&mut self, mut seq: Seq) -> Result<(), LogError> {
        let began = Instant::now();
        loop {
            let entries = self.bus.revocations_after(seq, READ_AT_ONCE).await?;
            let is_all = entries.len() < READ_AT_ONCE;
            for entry in entries {
                seq = entry.seq;
                self.known.add(seq, None);
                self.add(entry).await;
            }
            if is_all {
                break;
            }
        }
        if began.duration_since(self.known.at) > self.unseen_at_most {
            tracing::warn!("revocations were not read for too long, and some may have expired");
            self.reauthenticate(began.checked_sub(RECENTLY_SHOWN)).await;
        }
        self.known.at = began;
        Ok(())
    }

    /// Adds an entry. An entry of an unknown kind, which a newer version wrote, is ignored. So is a deleted
    /// entry: a revocation is never undone.
    async fn add(&mut self, entry: BucketEntry) {
        let BucketEntry { key, value, .. } = entry;
        let Some((revoked, value)) = Revoked::parse(&key).zip(value) else { return };
        match Revocation::parse(revoked, &value) {
            Ok(revocation) if self.set.insert(revocation) => self.announce(revocation).await,
            Ok(_) => {}
            Err(error) => tracing::error!(key, %error, "a revocation cannot be read"),
        }
    }

    async fn announce(&self, revocation: Revocation) {
        match revocation {
            Revocation::Over(Revoked::Room(room)) => {
                if self.rooms.send(room, RoomCommand::Deleted).is_err() {
                    self.workers.send_all(|| WorkerCommand::Lag { room }).await;
                }
            }
            Revocation::Over(revoked) => {
                self.workers.send_all(|| WorkerCommand::Revoked(revoked)).await;
            }
            Revocation::Member(room, user, state) => {
                if self.rooms.send(room, RoomCommand::Member { user, state }).is_err() {
                    // The room's mailbox is full: apply the change at once instead of in order with the room's
                    // events.
                    self.workers.send_all(|| WorkerCommand::Member { room, user, state }).await;
                }
            }
        }
    }

    /// Revocations may have been missed: all sockets leave their rooms and must join again with new tickets.
    /// Sockets that presented their token before `shown_before` must connect again.
    async fn reauthenticate(&self, shown_before: Option<Instant>) {
        metrics::counter!("chat_gateway_access_proofs_demanded_total").increment(1);
        let shown_before = shown_before.map(Instant::into_std);
        self.workers.send_all(|| WorkerCommand::Reauthenticate { shown_before }).await;
    }
}
