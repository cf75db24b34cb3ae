//! What is live in a room: what other gateways say of it, and what they and the room's sockets are
//! told.

use std::{collections::VecDeque, time::Duration};

use protocol::{event::ServerEvent, limits};
use tokio::time::{Instant, timeout_at};

use super::{LOOK_AGAIN_AFTER, Room, count_out, presence::Change};
use crate::{
    batch::BatchBuilder,
    bus::Asked,
    command::WorkerCommand,
    ephemeral::{Audience, EphemeralEvent, Gossip},
    mailbox::{Mail, Mailbox},
    wire::ws,
};

/// In a room of at most this many users, presence is told at every change; in a bigger one changes
/// are gathered, for longer the bigger it is: a storm of joins must not be told to all once for each.
fn gather(users: usize) -> Duration {
    match users {
        0..=10 => Duration::ZERO,
        11..=50 => Duration::from_millis(100),
        _ => Duration::from_secs(1),
    }
}

/// How long the first join waits for other gateways to say who is there; later ones are told by
/// `presence`.
const ANSWERS_WITHIN: Duration = Duration::from_millis(50);

impl Room {
    /// Asks other gateways who is there and hears their answers; what else came meanwhile.
    pub(super) async fn ask_others(&mut self, mailbox: &Mailbox) -> VecDeque<Mail> {
        let mut others = VecDeque::new();
        if self.context.peers.is_alone() {
            return others;
        }
        self.gossip(Gossip::Ask { gateway: self.context.gateway }).await;
        let until = Instant::now() + ANSWERS_WITHIN;
        while Instant::now() < until
            && let Ok(taken) = timeout_at(until, mailbox.take()).await
        {
            for mail in taken.mail {
                match mail {
                    Mail::Ephemeral(payload) => self.on_ephemeral(&payload).await,
                    other => others.push_back(other),
                }
            }
            if taken.missed {
                self.look_soon();
            }
        }
        others
    }

    pub(super) async fn on_ephemeral(&mut self, payload: &[u8]) {
        let Ok(event) = serde_json::from_slice::<EphemeralEvent>(payload) else {
            tracing::warn!(room = %self.id, "a live event of an unknown kind; a newer gateway's?");
            return;
        };
        match event.audience(self.id) {
            Audience::Gateways(gossip) => {
                if self.presence.hear(gossip) {
                    for answer in self.presence.all() {
                        self.gossip(answer).await;
                    }
                }
                self.presence_changed();
            }
            Audience::Everyone(event) if self.presence.count() <= limits::LIVE_USERS => {
                self.tell(&event).await;
            }
            Audience::Everyone(_) => {}
            Audience::User(user, event) => {
                count_out(event.name());
                let frame = ws::text(&["42", &event.encode()]);
                for worker in self.workers() {
                    let frame = frame.clone();
                    let command = WorkerCommand::DeliverTo { room: self.id, user, frame };
                    self.context.workers.send(worker, command).await;
                }
            }
        }
    }

    pub(super) fn on_question(&self, asked: Asked) {
        let online = self.presence.among(asked.question.users());
        self.context.subscriptions.answer(asked, online);
    }

    /// Messages may have been missed: look for stored ones, and ask again who is there.
    pub(super) async fn on_disturbed(&mut self) {
        self.settled_at = Instant::now() + LOOK_AGAIN_AFTER;
        self.look().await;
        self.look_until_settled();
        self.gossip(Gossip::Ask { gateway: self.context.gateway }).await;
        for answer in self.presence.all() {
            self.gossip(answer).await;
        }
    }

    pub(super) fn presence_changed(&mut self) {
        if self.presence.is_changed() && self.tell_presence_at.is_none() {
            let pause = gather(self.presence.count());
            let earliest = self.presence_told.map_or_else(Instant::now, |told| told + pause);
            self.tell_presence_at = Some(earliest);
        }
    }

    pub(super) async fn tell_presence(&mut self) {
        self.tell_presence_at = None;
        self.presence_told = Some(Instant::now());
        for gossip in self.presence.take_gossip() {
            self.gossip(gossip).await;
        }
        if let Some(change) = self.presence.take_change() {
            let Change { count, joined, left } = change;
            self.tell(&ServerEvent::Presence { room_id: self.id, count, joined, left }).await;
        }
    }

    async fn tell(&mut self, event: &ServerEvent) {
        count_out(event.name());
        let mut batch = BatchBuilder::default();
        batch.push(None, &["42", &event.encode()]);
        self.deliver(batch).await;
    }

    pub(super) async fn gossip(&self, gossip: Gossip) {
        self.context.bus.tell(self.id, &EphemeralEvent::Presence(gossip)).await;
    }
}
