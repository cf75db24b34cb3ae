//! The chat handler: Socket.IO packets of the namespace `/`.

use std::time::Instant;

use protocol::{Code, code::Refusal, event::ClientEvent};

use super::{intake::Intake, reaction::Reaction, stats::SocketStats};
use crate::{
    session::Session,
    wire::{
        packet::{Kind, Packet},
        ws::{Violation, protocol_error},
    },
};

/// The authentication state of a chat socket.
pub enum Chat {
    Unauthenticated,
    /// The socket's token is being verified. A packet before the answer is a protocol error.
    Authenticating,
    Authenticated(Box<Session>),
}

impl Chat {
    /// Whether the user is known.
    pub fn is_authenticated(&self) -> bool {
        matches!(self, Self::Authenticated(_))
    }

    /// Handles a Socket.IO packet.
    pub fn on_packet(
        &mut self,
        packet: &Packet<'_>,
        intake: &mut Intake,
        stats: &mut SocketStats,
    ) -> Result<Reaction, Violation> {
        if packet.kind == Kind::Connect {
            intake.count_connect()?;
        }
        match (packet.kind, self) {
            (Kind::Connect, _) if packet.namespace != "/" => {
                Ok(Reaction::refuse_namespace(packet.namespace))
            }
            (Kind::Disconnect, _) if packet.namespace != "/" => {
                intake.count_control();
                Ok(Reaction::Ignore)
            }
            _ if packet.namespace != "/" => Err(protocol_error("not connected to that namespace")),
            (Kind::Connect, Self::Unauthenticated) => {
                Ok(Reaction::Connect { auth: packet.data.clone().into_owned() })
            }
            (Kind::Disconnect, Self::Authenticated(_)) => Ok(Reaction::Disconnect),
            (Kind::Event, Self::Authenticated(session)) => {
                stats.count_event();
                let mut allowed = session.allow(packet.event_name(), Instant::now());
                if allowed.is_err() {
                    intake.throttle();
                }
                if packet.attachments > 0 {
                    intake.expect_attachments(packet.attachments);
                    allowed = allowed.and(Err(Refusal::new(
                        Code::UnexpectedBinary,
                        "no event accepts binary attachments",
                    )));
                }
                let event = match allowed {
                    Ok(()) => client_event(packet)?,
                    Err(refusal) => Err(refusal),
                };
                Ok(Reaction::Event { event, ack: packet.ack })
            }
            // The gateway never asks for an acknowledgement, so an acknowledgement is ignored.
            (Kind::Ack, Self::Authenticated(session)) => {
                if session.allow("", Instant::now()).is_err() {
                    intake.throttle();
                }
                intake.expect_attachments(packet.attachments);
                Ok(Reaction::Ignore)
            }
            _ => Err(protocol_error("connect to the namespace first, and once")),
        }
    }
}

/// Parses the event of a packet. A malformed packet is a violation; an event that is not part of the contract
/// is a refusal.
fn client_event(packet: &Packet<'_>) -> Result<Result<ClientEvent, Refusal>, Violation> {
    let event = packet.event()?;
    if event.extra {
        return Ok(Err(Refusal::new(Code::WrongType, "an event must have exactly one argument")));
    }
    let data = event.data.map_or("null", |data| data.get());
    Ok(ClientEvent::parse(&event.name, data.as_bytes()))
}
