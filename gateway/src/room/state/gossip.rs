//! Ephemeral events of a room: presence messages between gateways, and events for the room's sockets.

use std::{collections::VecDeque, time::Duration};

use protocol::{event::ServerEvent, limits};
use tokio::time::{Instant, timeout_at};

use super::{CHECK_AGAIN_AFTER, Room, count_out};
use crate::{
    batch::BatchBuilder,
    bus::PresenceRequest,
    command::WorkerCommand,
    ephemeral::{Audience, EphemeralEvent, Gossip},
    mailbox::{Mail, Mailbox},
    room::presence::Change,
    wire::ws,
};

/// How long presence changes are collected before they are sent. A small room gets every change at once. In a
/// big room, a message to all sockets for every join would be quadratic.
fn collect_for(users: usize) -> Duration {
    match users {
        0..=10 => Duration::ZERO,
        11..=50 => Duration::from_millis(100),
        _ => Duration::from_secs(1),
    }
}

/// How long the first join waits for the presence lists of other gateways. Later replies are sent as `presence`
/// events.
const ANSWERS_WITHIN: Duration = Duration::from_millis(50);

impl Room {
    /// Asks other gateways for their presence lists and waits for them. Returns the other mail that arrived in
    /// the meantime.
    pub async fn ask_others(&mut self, mailbox: &Mailbox) -> VecDeque<Mail> {
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
                self.check_soon();
            }
        }
        others
    }

    pub async fn on_ephemeral(&mut self, payload: &[u8]) {
        let Ok(event) = serde_json::from_slice::<EphemeralEvent>(payload) else {
            tracing::warn!(room = %self.id, "ignored an unknown ephemeral event, perhaps from a newer gateway");
            return;
        };
        match event.audience(self.id) {
            Audience::Gateways(gossip) => {
                if self.presence.apply(gossip) {
                    for answer in self.presence.all() {
                        self.gossip(answer).await;
                    }
                }
                self.presence_changed();
            }
            Audience::Everyone(event) if self.presence.count() <= limits::LIVE_USERS => {
                self.send_to_sockets(&event).await;
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

    pub fn on_presence_query(&self, request: PresenceRequest) {
        let online = self.presence.online_among(request.query.users());
        self.context.subscriptions.answer(request, online);
    }

    /// Called when NATS messages may have been missed: checks the stream and exchanges presence lists again.
    pub async fn on_missed(&mut self) {
        self.settled_at = Instant::now() + CHECK_AGAIN_AFTER;
        self.check_stream().await;
        self.check_until_settled();
        self.gossip(Gossip::Ask { gateway: self.context.gateway }).await;
        for answer in self.presence.all() {
            self.gossip(answer).await;
        }
    }

    pub fn presence_changed(&mut self) {
        if self.presence.is_changed() && self.send_presence_at.is_none() {
            let pause = collect_for(self.presence.count());
            let earliest = self.presence_sent.map_or_else(Instant::now, |sent| sent + pause);
            self.send_presence_at = Some(earliest);
        }
    }

    pub async fn send_presence(&mut self) {
        self.send_presence_at = None;
        self.presence_sent = Some(Instant::now());
        for gossip in self.presence.take_gossip() {
            self.gossip(gossip).await;
        }
        if let Some(change) = self.presence.take_change() {
            let Change { count, joined, left } = change;
            self.send_to_sockets(&ServerEvent::Presence { room_id: self.id, count, joined, left })
                .await;
        }
    }

    async fn send_to_sockets(&mut self, event: &ServerEvent) {
        count_out(event.name());
        let mut batch = BatchBuilder::default();
        batch.push(None, &["42", &event.encode()]);
        self.deliver(batch).await;
    }

    pub async fn gossip(&self, gossip: Gossip) {
        self.context.bus.send(self.id, &EphemeralEvent::Presence(gossip)).await;
    }
}
