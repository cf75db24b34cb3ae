//! The state of a room on this gateway: its newest events, its presence and the workers that have sockets in
//! it.

mod gossip;
mod join;
mod mail;
mod repair;
mod replay;
mod timers;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use protocol::{
    RoomId, Seq,
    stored::{Position, RawEvent},
};
use service::{
    roomlog::{Entry, LogError},
    trace::Span,
};
use tokio::time::Instant;

use super::{
    context::Context,
    presence::Presence,
    reaction_kinds::ReactionKinds,
    ring::{self, Place, Ring},
    waiting::{Join, WaitingJoins},
};
use crate::{
    batch::{Batch, BatchBuilder},
    bus::Republished,
    command::{RoomCommand, WorkerCommand},
    mailbox::{Mail, Mailbox},
    subscriptions::RoomSubscription,
};

/// A room without sockets keeps its ring for this long, so that a reconnect storm needs no stream reads.
const LINGER: Duration = Duration::from_secs(30);
/// In a NATS cluster a new subscription takes a moment to reach all servers. One more check of the stream after
/// this time finds events that were stored in that moment.
const CHECK_AGAIN_AFTER: Duration = Duration::from_secs(2);

/// How long a deleted room waits for its last event. The event may be late, may not be stored while the stream
/// is full, and is purged after an hour.
const LAST_EVENT_WITHIN: Duration = Duration::from_secs(3);

/// A room on this gateway. Its methods run only in the room's task.
pub struct Room {
    id: RoomId,
    context: Arc<Context>,
    ring: Ring,
    /// Until this time, the ring keeps events that were read for long replays.
    wide_until: Option<Instant>,
    waiting: WaitingJoins,
    presence: Presence,
    /// The number of sockets in the room, by worker.
    sockets: Vec<usize>,
    send_presence_at: Option<Instant>,
    presence_sent: Option<Instant>,
    check_at: Option<Instant>,
    /// Until this time, an event may be missing without a later one that shows the gap: see
    /// [`CHECK_AGAIN_AFTER`].
    settled_at: Instant,
    /// When a deleted room ends even if its last event has not arrived.
    end_deleted_at: Option<Instant>,
    /// When the room ends unless a socket joins.
    end_at: Option<Instant>,
    reaction_kinds: ReactionKinds,
    /// The room was deleted, and all sockets have left: nothing more is delivered.
    is_deleted: bool,
}

impl Room {
    /// Opens a room: subscribes first and reads the newest event after, so that no event between the two is
    /// missed. Also returns the mail that arrived in the meantime.
    pub async fn open(
        id: RoomId,
        context: Arc<Context>,
        mailbox: &Mailbox,
    ) -> Result<(Self, RoomSubscription, VecDeque<Mail>), LogError> {
        let subscription = context.subscriptions.subscribe(id, mailbox.clone()).await?;
        let newest = context.bus.log().last(id).await?;
        let head = match &newest {
            Some(newest) => newest.seq,
            // The room has had no events, or all of them were purged from the stream.
            None => context.bus.log().oldest_kept(id).await?,
        };
        let is_deleted = newest.is_some_and(|entry| ends_room(id, &entry));
        let settled_at = Instant::now() + CHECK_AGAIN_AFTER;
        let mut room = Self {
            id,
            ring: Ring::new(head),
            wide_until: None,
            waiting: WaitingJoins::default(),
            presence: Presence::new(context.gateway),
            sockets: vec![0; context.workers.count()],
            send_presence_at: None,
            presence_sent: None,
            check_at: Some(settled_at),
            settled_at,
            end_deleted_at: None,
            end_at: Some(Instant::now() + LINGER),
            reaction_kinds: ReactionKinds::default(),
            is_deleted,
            context,
        };
        let mail = room.ask_others(mailbox).await;
        // Subscribes only after `ask_others`: before it, the list of online users is incomplete.
        subscription.answer_queries();
        Ok((room, subscription, mail))
    }

    /// Whether the room was deleted.
    pub fn is_deleted(&self) -> bool {
        self.is_deleted
    }

    async fn on_command(&mut self, command: RoomCommand) {
        match command {
            RoomCommand::Join { socket, person, after, ack } => {
                self.join(Join { socket, person, after, ack }).await;
            }
            RoomCommand::Leave { worker, user } => {
                self.sockets[worker] -= 1;
                self.presence.leave(user);
                if self.is_empty() {
                    self.end_at = Some(Instant::now() + LINGER);
                }
            }
            RoomCommand::Rename { person } => self.presence.rename(person),
            RoomCommand::Member { user, state } => {
                // The stored event about this change is older, so it is delivered first.
                self.check_stream().await;
                self.send_to_workers(|room| WorkerCommand::Member { room, user, state }).await;
            }
            RoomCommand::Deleted => {
                self.check_stream().await;
                self.end_deleted_at = Some(Instant::now() + LAST_EVENT_WITHIN);
            }
            RoomCommand::GatewayLost { gateway } => self.presence.remove_gateway(gateway),
            RoomCommand::CheckReaction { target, emoji, respond } => {
                // The caller may have timed out.
                let _ = respond.send(self.reaction_kinds.may_have(target, &emoji));
            }
        }
        self.presence_changed();
    }

    /// Delivers events in order. Reads missing events from the stream first.
    async fn on_stored(&mut self, events: Vec<Republished>) {
        let mut batch = BatchBuilder::default();
        // They end when the events have been sent to the workers.
        let mut spans = Vec::new();
        for event in events {
            if self.place(&batch, event.position) == Place::AfterGap {
                metrics::counter!("chat_gateway_gaps_total").increment(1);
                self.deliver(std::mem::take(&mut batch)).await;
                Box::pin(self.catch_up()).await;
            }
            match self.place(&batch, event.position) {
                Place::Next => {
                    tracing::debug!(
                        room = %self.id,
                        seq = %event.position.seq,
                        trace = event.trace.map(|trace| trace.trace_id()),
                        "delivering an event"
                    );
                    spans.extend(self.delivery(&event));
                    self.take(event.position.seq, &event.payload, &mut batch).await;
                }
                Place::Known => {}
                // The replica that answered lags behind and does not have the missing events yet.
                Place::AfterGap => self.check_soon(),
            }
        }
        self.deliver(batch).await;
    }

    /// The span of a delivery in a sampled trace.
    fn delivery(&self, event: &Republished) -> Option<Span> {
        let mut span = Span::consumer("deliver", event.trace)?;
        span.set("chat.room", self.id.to_string());
        span.set("chat.seq", event.position.seq.get() as i64);
        Some(span)
    }

    fn is_empty(&self) -> bool {
        self.sockets.iter().all(|count| *count == 0)
    }

    /// The newest event, including those in `batch`.
    fn last(&self, batch: &BatchBuilder) -> Seq {
        batch.last().unwrap_or(self.ring.last())
    }

    fn place(&self, batch: &BatchBuilder, position: Position) -> Place {
        ring::place(self.last(batch), position)
    }

    /// Encodes the next event, once for all sockets. `room-deleted` is delivered at once and ends the room.
    /// `member-removed` removes no socket: the user may have rejoined since, which only the bucket of
    /// revocations shows ([`RoomCommand::Member`]).
    async fn take(&mut self, seq: Seq, payload: &[u8], batch: &mut BatchBuilder) {
        if self.is_deleted {
            // The event was published while the room was being deleted.
            return;
        }
        let position = Position { seq, prev: self.last(batch) };
        let Some(event) = parse(self.id, seq, payload) else { return };
        if event.name == "reaction" {
            self.reaction_kinds.note(payload);
        }
        count_out(event.name);
        let log = self.context.bus.log();
        log.high_water().raise(log.shards().of(self.id), seq);
        batch.push(Some(seq), &["42", &event.with_position(self.id, position)]);
        if event.name == "room-deleted" {
            self.close(std::mem::take(batch)).await;
        }
    }

    /// Adds stored events to the ring, and sends all events to the workers.
    async fn deliver(&mut self, batch: BatchBuilder) {
        let Some(batch) = batch.build(&self.context.budget) else { return };
        self.ring.push(batch.clone(), self.allowance());
        self.send_batch(&batch).await;
    }

    /// Delivers the last events and ends the room in one step, so that a client that has received
    /// `room-deleted` can no longer send.
    async fn close(&mut self, batch: BatchBuilder) {
        let Some(batch) = batch.build(&self.context.budget) else { return };
        self.ring.push(batch.clone(), self.allowance());
        self.send_to_workers(|room| WorkerCommand::Close { room, batch: batch.clone() }).await;
        self.is_deleted = true;
    }

    async fn send_batch(&self, batch: &Batch) {
        self.send_to_workers(|room| WorkerCommand::Deliver { room, batch: batch.clone() }).await;
    }

    /// The workers that have sockets in the room.
    fn workers(&self) -> impl Iterator<Item = usize> {
        self.sockets
            .iter()
            .enumerate()
            .filter(|(_, sockets)| **sockets > 0)
            .map(|(worker, _)| worker)
    }

    async fn send_to_workers(&self, command: impl Fn(RoomId) -> WorkerCommand) {
        for worker in self.workers() {
            self.context.workers.send(worker, command(self.id)).await;
        }
    }
}

/// Whether an entry of the stream is `room-deleted`.
fn ends_room(room: RoomId, entry: &Entry) -> bool {
    parse(room, entry.seq, &entry.payload).is_some_and(|event| event.name == "room-deleted")
}

/// Counts an outgoing event once, for any number of receiving sockets.
fn count_out(name: &str) {
    metrics::counter!("chat_gateway_events_out_total", "event" => name.to_owned()).increment(1);
}

/// Parses a stored event. An invalid payload is a bug in the publisher; it is logged and skipped.
fn parse(room: RoomId, seq: Seq, payload: &[u8]) -> Option<RawEvent<'_>> {
    RawEvent::parse(payload)
        .inspect_err(|error| tracing::error!(%room, %seq, %error, "an event cannot be delivered"))
        .ok()
}
