//! What the worker does about a message of a socket.

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
    /// Send these frames.
    Send(Vec<Bytes>),
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
    /// Forget the socket at once: nobody will ask for its backlog.
    Remove,
}

impl Reaction {
    /// Sends one frame.
    pub fn send(frame: Bytes) -> Self {
        Self::Send(vec![frame])
    }

    /// Refuses to connect to a namespace that does not exist.
    pub fn refuse_namespace(namespace: &str) -> Self {
        let data = r#"{"message":"Invalid namespace"}"#.into();
        let kind = Kind::ConnectError;
        let packet = Packet { kind, attachments: 0, namespace, ack: None, data };
        Self::send(ws::text(&["4", &packet.encode()]))
    }
}
