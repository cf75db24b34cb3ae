//! Presence in a room: what other gateways say, what they and the room's sockets are told.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use protocol::{event::ServerEvent, subject};
use tokio::time::Instant;

use super::{
    Room,
    presence::{Change, Gossip},
};
use crate::shard::BatchBuilder;

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
    pub(super) async fn ask_others(&mut self, live: &mut (impl Stream<Item = Bytes> + Unpin)) {
        if self.context.peers.is_alone() {
            return;
        }
        self.gossip(Gossip::Ask { gateway: self.context.gateway }).await;
        let answers = async {
            while let Some(payload) = live.next().await {
                self.on_live(&payload).await;
            }
        };
        // The time running out is how this ends.
        let _ = tokio::time::timeout(ANSWERS_WITHIN, answers).await;
    }

    pub(super) async fn on_live(&mut self, payload: &[u8]) {
        let Ok(gossip) = serde_json::from_slice::<Gossip>(payload) else {
            tracing::warn!(room = %self.id, "a live event of an unknown kind; a newer gateway's?");
            return;
        };
        if self.presence.hear(gossip) {
            for answer in self.presence.all() {
                self.gossip(answer).await;
            }
        }
        self.presence_changed();
    }

    /// Messages may have been missed: look for stored ones, and ask again who is there.
    pub(super) async fn on_disturbed(&mut self) {
        self.look().await;
        self.gossip(Gossip::Ask { gateway: self.context.gateway }).await;
        for answer in self.presence.all() {
            self.gossip(answer).await;
        }
    }

    pub(super) fn presence_changed(&mut self) {
        if self.presence.is_changed() && self.tell_presence_at.is_none() {
            let pause = gather(self.presence.online().count);
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
            let event = ServerEvent::Presence { room_id: self.id, count, joined, left };
            let mut batch = BatchBuilder::default();
            batch.push(None, &["42", &event.encode()]);
            self.deliver(batch).await;
        }
    }

    pub(super) async fn gossip(&self, gossip: Gossip) {
        if let Ok(payload) = serde_json::to_vec(&gossip) {
            self.context.bus.publish_live(subject::live(self.id), payload.into()).await;
        }
    }
}
