//! Hearing of revocations, so that none is missed, and telling those who hold what is revoked.
//!
//! New entries of the bucket come as messages. Messages may be lost: whenever that is possible, the whole bucket is read
//! again, and every [`LOOK_EVERY`] what is new in it. All of its entries are read in their order, not only the last one of
//! each key: the outbox may put an older state after a newer one, and the version in it decides.

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

/// Entries that are read by one request.
const READ_AT_ONCE: usize = 1_024;
/// After a failure.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// In a NATS cluster a new subscription takes a moment to be known everywhere, and a replica may lag behind: what was put
/// in that moment is found by one more look after it.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// How long it may go unnoticed that nothing comes any more. Costs one request.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// An entry that is younger than this is in the bucket.
const KEPT_SURELY: Duration = Duration::from_secs(limits::REVOKED_SECONDS / 2);

/// A token was made at most a token's life before it was shown. If it was shown less than this ago, whatever revoked it is
/// still in the bucket.
const SHOWN_SURELY: Duration =
    Duration::from_secs(limits::REVOKED_SECONDS - *limits::TOKEN_SECONDS.end() as u64);

/// See the module.
pub struct Revocations {
    bus: Bus,
    set: RevokedSet,
    workers: Workers,
    rooms: Rooms,
    /// How old [`Known::at`] may be before sockets have to prove anew who they are.
    unseen_at_most: Duration,
    known: Known,
}

/// How much of the bucket is known.
struct Known {
    /// The newest entry; [`Seq::ZERO`] for none.
    seq: Seq,
    /// When it came as a message. Of one that was read it is not known how old it is.
    heard_at: Option<Instant>,
    /// Everything that was revoked before this is known.
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

    /// Goes on until `ended`.
    pub async fn run(mut self, ended: CancellationToken) {
        let watching = async {
            loop {
                if let Err(error) = self.watch().await {
                    tracing::warn!(%error, "the revocations cannot be read");
                }
                tokio::time::sleep(TRY_AGAIN_AFTER).await;
            }
        };
        ended.run_until_cancelled(watching).await;
    }

    async fn watch(&mut self) -> Result<(), LogError> {
        let mut disturbed = self.bus.disturbed();
        disturbed.mark_unchanged();
        // Subscribed first and read after, so that no entry falls between.
        let mut news = self.bus.revocation_news().await?;
        self.read_whole().await?;
        let mut look_at = Instant::now() + LOOK_AGAIN_AFTER;
        loop {
            tokio::select! {
                entry = news.next() => match entry {
                    Some(entry) => {
                        self.known.add(entry.seq, Some(Instant::now()));
                        self.note(entry).await;
                    }
                    None => return Err(LogError::Unavailable("the subscription ended".into())),
                },
                Ok(()) = disturbed.changed() => {
                    self.read_whole().await?;
                    look_at = Instant::now() + LOOK_AGAIN_AFTER;
                }
                () = tokio::time::sleep_until(look_at) => {
                    self.read_after(self.known.seq).await?;
                    look_at = Instant::now() + LOOK_EVERY;
                }
            }
        }
    }

    /// Reads the bucket from its beginning. Until that is done this gateway is not ready.
    async fn read_whole(&mut self) -> Result<(), LogError> {
        self.set.set_complete(false);
        let (before, heard_at) = (self.known.seq, self.known.heard_at);
        self.known.seq = Seq::ZERO;
        let read = self.read_after(Seq::ZERO).await;
        let newest = self.known.seq;
        self.known.add(before, heard_at);
        read?;
        // An entry that was heard not long ago cannot have expired.
        let is_kept = heard_at.is_some_and(|at| at.elapsed() < KEPT_SURELY);
        if newest < before && is_kept {
            tracing::warn!("the bucket of revocations has lost entries");
            self.prove_again(Some(Instant::now())).await;
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
                self.note(entry).await;
            }
            if is_all {
                break;
            }
        }
        if began.duration_since(self.known.at) > self.unseen_at_most {
            tracing::warn!("revocations were not known for long, and some may be gone");
            self.prove_again(began.checked_sub(SHOWN_SURELY)).await;
        }
        self.known.at = began;
        Ok(())
    }

    /// An entry may be of a kind that a newer version writes. A deleted one is not taken back: nothing is.
    async fn note(&mut self, entry: BucketEntry) {
        let BucketEntry { key, value, .. } = entry;
        let Some((revoked, value)) = Revoked::parse(&key).zip(value) else { return };
        match Revocation::parse(revoked, &value) {
            Ok(revocation) if self.set.insert(revocation) => self.tell(revocation).await,
            Ok(_) => {}
            Err(error) => tracing::error!(key, %error, "a revocation cannot be read"),
        }
    }

    async fn tell(&self, revocation: Revocation) {
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
                    // Too busy to say so in its order; what counts is that it is so.
                    self.workers.send_all(|| WorkerCommand::Member { room, user, state }).await;
                }
            }
        }
    }

    /// Somebody may have been revoked, and the bucket no longer says so. All sockets leave their rooms and may join again
    /// with new tickets; those that have shown no token since this moment have to connect again.
    async fn prove_again(&self, shown_before: Option<Instant>) {
        metrics::counter!("gateway_proofs_demanded_total").increment(1);
        let shown_before = shown_before.map(Instant::into_std);
        self.workers.send_all(|| WorkerCommand::Reauthenticate { shown_before }).await;
    }
}
