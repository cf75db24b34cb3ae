//! A handler's decision on a received message: the worker performs it.

use bytes::Bytes;
use protocol::{code::Refusal, event::ClientEvent};

use crate::wire::{
    packet::{Kind, Packet},
    ws,
};

/// See the module.
#[derive(Debug)]
pub enum Reaction {
    Ignore,
    /// Send this frame.
    Send(Bytes),
    /// Send these frames, in this order.
    SendAll(Vec<Bytes>),
    /// Verify the access token in this data and start a session.
    Connect {
        auth: String,
    },
    /// End the session, keep the connection.
    Disconnect,
    /// Perform the event, or answer its refusal.
    Event {
        event: Result<ClientEvent, Refusal>,
        ack: Option<u64>,
    },
    /// The client closed the connection.
    Close,
    /// Remove the socket at once: no poll will fetch its backlog.
    Remove,
}

impl Reaction {
    /// Refuses to connect to a namespace that does not exist.
    pub fn refuse_namespace(namespace: &str) -> Self {
        let data = r#"{"message":"Invalid namespace"}"#.into();
        let kind = Kind::ConnectError;
        let packet = Packet { kind, attachments: 0, namespace, ack: None, data };
        Self::Send(ws::text(&["4", &packet.encode()]))
    }
}
