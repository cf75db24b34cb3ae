//! Turns messages of a room's subscriptions into mail.

use bytes::Bytes;
use protocol::{
    RoomId,
    presence::PresenceQuery,
    stored::Position,
    subject::{self, Shards},
};

use service::trace::TraceParent;

use super::{table::Kind, wire::Message};
use crate::{
    bus::{PresenceRequest, Republished},
    mailbox::Mail,
};

/// Decodes a message of a room's subscription. An invalid one is logged, and none is returned.
pub fn mail(kind: Kind, shards: Shards, room: RoomId, message: &Message<'_>) -> Option<Mail> {
    match kind {
        Kind::Stored => republished(shards, room, message),
        Kind::Ephemeral => Some(Mail::Ephemeral(Bytes::copy_from_slice(message.payload))),
        Kind::PresenceQuery => query(room, message),
    }
}

/// A stored event that the room's stream republished. Any other message comes from another gateway, which may
/// not publish there but can name the subject as the reply subject of a request: see infra/nats/nats.conf.
fn republished(shards: Shards, room: RoomId, message: &Message<'_>) -> Option<Mail> {
    let is_stored = message.header("Nats-Stream") == Some(&shards.of(room).stream())
        && message.header("Nats-Subject") == Some(&subject::stored(shards, room));
    let number = |name| message.header(name)?.parse().ok();
    let numbers = number("Nats-Sequence").zip(number("Nats-Last-Sequence"));
    let Some((seq, prev)) = numbers.filter(|_| is_stored) else {
        tracing::error!(%room, "dropped a message that the stream did not republish");
        return None;
    };
    let trace = message.header(subject::TRACEPARENT).and_then(TraceParent::sampled);
    let payload = Bytes::copy_from_slice(message.payload);
    Some(Mail::Stored(Republished { position: Position { seq, prev }, payload, trace }))
}

fn query(room: RoomId, message: &Message<'_>) -> Option<Mail> {
    let query = PresenceQuery::decode(message.payload)
        .inspect_err(|error| tracing::warn!(%room, %error, "dropped an invalid presence query"))
        .ok()?;
    Some(Mail::PresenceQuery(PresenceRequest { query, reply: message.reply?.to_owned() }))
}
