//! One room on this gateway: a task that puts the room's events in order without a gap, encodes
//! each once, and hands them to the workers whose sockets are in the room.

mod gossip;
mod join;
mod kinds;
mod presence;
mod registry;
mod repair;
mod replay;
mod ring;
mod task;
mod timers;

pub use self::registry::Rooms;
use std::{collections::VecDeque, sync::Arc, time::Duration};

use protocol::{
    RoomId, Seq,
    stored::{Position, RawEvent},
};
use service::roomlog::{Entry, LogError};
use tokio::time::Instant;

use self::{
    join::{Join, WaitingJoins},
    kinds::Kinds,
    presence::Presence,
    ring::{Place, Ring},
};
use crate::{
    batch::{Batch, BatchBuilder},
    bus::{Bus, Republished},
    command::{RoomCommand, WorkerCommand, Workers},
    ephemeral::GatewayId,
    mailbox::{Mail, Mailbox},
    memory::Budget,
    peers::Peers,
    subscriptions::{Listening, Subscriptions},
};

/// A room without sockets keeps its ring this long, so that a reconnect storm finds it warm.
const LINGER: Duration = Duration::from_secs(30);
/// A batch of republished events that goes to the workers as one.
const BATCH: usize = 64;
/// In a NATS cluster a new subscription takes a moment to be known everywhere; what was stored in
/// that moment is found by one look at the stream after it.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(2);

/// How long after a room was deleted its last event may come. The event may be late, or not be stored while
/// the stream is full, and is gone after an hour.
const LAST_EVENT_WITHIN: Duration = Duration::from_secs(3);

/// What all rooms of a worker's thread share.
pub struct Context {
    pub bus: Bus,
    pub subscriptions: Subscriptions,
    pub workers: Workers,
    pub peers: Peers,
    pub budget: Budget,
    pub gateway: GatewayId,
}

struct Room {
    id: RoomId,
    context: Arc<Context>,
    ring: Ring,
    /// Until then the ring keeps what was read for long replays.
    wide_until: Option<Instant>,
    waiting: WaitingJoins,
    presence: Presence,
    /// Sockets in the room by worker, to know which workers to tell.
    sockets: Vec<usize>,
    tell_presence_at: Option<Instant>,
    presence_told: Option<Instant>,
    look_at: Option<Instant>,
    /// Until then something may be missing that no event tells of: it is looked for once more.
    settled_at: Instant,
    /// When the room, which was deleted, ends without its last event.
    gone_at: Option<Instant>,
    /// When the room ends if nobody joins.
    end_at: Option<Instant>,
    kinds: Kinds,
    /// It was deleted: nothing more is delivered, and nobody is here.
    is_deleted: bool,
}

impl Room {
    /// Subscribes first and reads the head after, so that no event falls between. Also what came
    /// meanwhile and is not handled yet.
    async fn open(
        id: RoomId,
        context: Arc<Context>,
        mailbox: &Mailbox,
    ) -> Result<(Self, Listening, VecDeque<Mail>), LogError> {
        let listening = context.subscriptions.listen(id, mailbox.clone()).await?;
        let newest = context.bus.log().last(id).await?;
        let head = match &newest {
            Some(newest) => newest.seq,
            // Nothing is in the stream: of a room that never had anything, or of before the stream.
            None => context.bus.log().oldest_kept(id).await?,
        };
        let is_deleted = newest.is_some_and(|entry| ends_room(id, &entry));
        let settled_at = Instant::now() + LOOK_AGAIN_AFTER;
        let mut room = Self {
            id,
            ring: Ring::new(head),
            wide_until: None,
            waiting: WaitingJoins::default(),
            presence: Presence::new(context.gateway),
            sockets: vec![0; context.workers.count()],
            tell_presence_at: None,
            presence_told: None,
            look_at: Some(settled_at),
            settled_at,
            gone_at: None,
            end_at: Some(Instant::now() + LINGER),
            kinds: Kinds::default(),
            is_deleted,
            context,
        };
        let mail = room.ask_others(mailbox).await;
        // Asked only now that it knows who is there.
        listening.answer_questions();
        Ok((room, listening, mail))
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
                // The event that says so was stored before: it is delivered first.
                self.look().await;
                self.send_to_workers(|room| WorkerCommand::Member { room, user, state }).await;
            }
            RoomCommand::Deleted => {
                self.look().await;
                self.gone_at = Some(Instant::now() + LAST_EVENT_WITHIN);
            }
            RoomCommand::GatewayLost { gateway } => self.presence.lose(gateway),
            RoomCommand::CheckReaction { target, emoji, respond } => {
                // Who asked may be gone.
                let _ = respond.send(self.kinds.may_have(target, &emoji));
            }
        }
        self.presence_changed();
    }

    /// Delivers what follows, repairs holes.
    async fn on_stored(&mut self, events: Vec<Republished>) {
        let mut batch = BatchBuilder::default();
        for event in events {
            if self.place(&batch, event.position) == Place::AfterHole {
                metrics::counter!("gateway_holes_total").increment(1);
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
                    self.take(event.position.seq, &event.payload, &mut batch).await;
                }
                Place::Known => {}
                // A replica that lags behind did not have it yet.
                Place::AfterHole => self.look_soon(),
            }
        }
        self.deliver(batch).await;
    }

    fn is_empty(&self) -> bool {
        self.sockets.iter().all(|count| *count == 0)
    }

    /// The newest event, counting what is in `batch` already.
    fn last(&self, batch: &BatchBuilder) -> Seq {
        batch.last().unwrap_or(self.ring.last())
    }

    fn place(&self, batch: &BatchBuilder, position: Position) -> Place {
        ring::place(self.last(batch), position)
    }

    /// Encodes the next event, once for all sockets. The one that ends the room is delivered at once,
    /// and then nobody is here any more. One that says that somebody was removed takes nobody out:
    /// they may be back since, and only the bucket of revocations knows ([`RoomCommand::Member`]).
    async fn take(&mut self, seq: Seq, payload: &[u8], batch: &mut BatchBuilder) {
        if self.is_deleted {
            // A send that was on its way when the room was deleted.
            return;
        }
        let position = Position { seq, prev: self.last(batch) };
        let Some(event) = parse(self.id, seq, payload) else { return };
        if event.name == "reaction" {
            self.kinds.note(payload);
        }
        count_out(event.name);
        let log = self.context.bus.log();
        log.high_water().raise(log.shards().of(self.id), seq);
        batch.push(Some(seq), &["42", &event.with_position(self.id, position)]);
        if event.name == "room-deleted" {
            self.close(std::mem::take(batch)).await;
        }
    }

    /// Keeps what is stored in the ring, and hands all of it to the workers.
    async fn deliver(&mut self, batch: BatchBuilder) {
        let Some(batch) = batch.build(&self.context.budget) else { return };
        self.ring.push(batch.clone(), self.allowance());
        self.hand_out(&batch).await;
    }

    /// Delivers the last events and ends the room, in one: whoever reads that it was deleted can no
    /// longer send.
    async fn close(&mut self, batch: BatchBuilder) {
        let Some(batch) = batch.build(&self.context.budget) else { return };
        self.ring.push(batch.clone(), self.allowance());
        self.send_to_workers(|room| WorkerCommand::Close { room, batch: batch.clone() }).await;
        self.is_deleted = true;
    }

    async fn hand_out(&self, batch: &Batch) {
        self.send_to_workers(|room| WorkerCommand::Deliver { room, batch: batch.clone() }).await;
    }

    /// The workers with sockets in the room.
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

/// Whether it is the event that says that the room was deleted.
fn ends_room(room: RoomId, entry: &Entry) -> bool {
    parse(room, entry.seq, &entry.payload).is_some_and(|event| event.name == "room-deleted")
}

/// Counts an event that goes out, however many sockets it goes to.
fn count_out(name: &str) {
    metrics::counter!("gateway_events_out_total", "event" => name.to_owned()).increment(1);
}

/// A stored event; none for a payload that is no event, which only a fault of ours makes.
fn parse(room: RoomId, seq: Seq, payload: &[u8]) -> Option<RawEvent<'_>> {
    RawEvent::parse(payload)
        .inspect_err(|error| tracing::error!(%room, %seq, %error, "an event cannot be delivered"))
        .ok()
}
