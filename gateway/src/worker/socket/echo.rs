//! The echo handler, for the protocols' conformance suites: it answers as the reference implementation's test
//! server does. Used only if `CONFORMANCE_ECHO` is set.

use bytes::Bytes;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{intake::Intake, reaction::Reaction};
use crate::wire::{
    packet::{Kind, Packet},
    ws::{self, Violation, protocol_error},
};

/// Namespaces that may be connected to.
const NAMESPACES: [&str; 2] = ["/", "/custom"];

const MALFORMED: Violation = protocol_error("an event is an array that starts with its name");

/// See the module.
#[derive(Debug, Default)]
pub struct Echo {
    /// Echo Engine.IO messages unchanged, without parsing Socket.IO packets in them.
    engine_only: bool,
    /// A packet was received.
    is_established: bool,
    namespaces: Vec<&'static str>,
    /// An answer and its attachments, sent once all attachments are received.
    answer: Vec<Bytes>,
}

impl Echo {
    /// Echoes Engine.IO messages or answers Socket.IO packets.
    pub fn new(engine_only: bool) -> Self {
        Self { engine_only, is_established: engine_only, ..Self::default() }
    }

    /// Whether the handshake deadline no longer applies.
    pub fn is_established(&self) -> bool {
        self.is_established
    }

    /// Handles an Engine.IO text message; `data` is `message` without its type.
    pub fn on_text(
        &mut self,
        message: &str,
        data: &str,
        intake: &mut Intake,
    ) -> Result<Reaction, Violation> {
        if self.engine_only {
            return Ok(Reaction::Send(ws::text(&[message])));
        }
        self.is_established = true;
        self.on_packet(&Packet::parse(data)?, intake)
    }

    /// Handles a binary message: an Engine.IO message, or an attachment of the packet before it.
    pub fn on_binary(&mut self, bytes: &[u8], intake: &mut Intake) -> Result<Reaction, Violation> {
        if self.engine_only {
            return Ok(Reaction::Send(ws::binary(bytes)));
        }
        let is_last = intake.take_attachment()?;
        self.answer.push(ws::binary(bytes));
        let answer = if is_last { std::mem::take(&mut self.answer) } else { Vec::new() };
        Ok(Reaction::SendAll(answer))
    }

    fn on_packet(
        &mut self,
        packet: &Packet<'_>,
        intake: &mut Intake,
    ) -> Result<Reaction, Violation> {
        let known = NAMESPACES.into_iter().find(|name| *name == packet.namespace);
        match (packet.kind, known) {
            (Kind::Connect, Some(namespace)) => {
                if !self.namespaces.contains(&namespace) {
                    self.namespaces.push(namespace);
                }
                let auth = if packet.data.is_empty() { "{}" } else { &packet.data };
                let sid = Uuid::new_v4().simple();
                Ok(Reaction::SendAll(vec![
                    reply(packet, Kind::Connect, None, format!(r#"{{"sid":"{sid}"}}"#)),
                    reply(packet, Kind::Event, None, format!(r#"["auth",{auth}]"#)),
                ]))
            }
            (Kind::Connect, None) => Ok(Reaction::refuse_namespace(packet.namespace)),
            (Kind::Disconnect, _) => {
                self.namespaces.retain(|name| *name != packet.namespace);
                Ok(Reaction::Ignore)
            }
            (Kind::Event, Some(namespace)) if self.namespaces.contains(&namespace) => {
                self.on_event(packet, intake)
            }
            _ => Err(protocol_error("not connected to that namespace")),
        }
    }

    fn on_event(
        &mut self,
        packet: &Packet<'_>,
        intake: &mut Intake,
    ) -> Result<Reaction, Violation> {
        let arguments: Vec<&RawValue> =
            serde_json::from_str(&packet.data).map_err(|_| MALFORMED)?;
        let (name, rest) = arguments.split_first().ok_or(MALFORMED)?;
        let rest: Vec<&str> = rest.iter().map(|value| value.get()).collect();
        let answer = match (name.get(), packet.ack) {
            (r#""message""#, _) => {
                let all = [&[r#""message-back""#], &rest[..]].concat().join(",");
                reply(packet, Kind::Event, None, format!("[{all}]"))
            }
            (r#""message-with-ack""#, Some(ack)) => {
                reply(packet, Kind::Ack, Some(ack), format!("[{}]", rest.join(",")))
            }
            _ => return Ok(Reaction::Ignore),
        };
        if packet.attachments == 0 {
            return Ok(Reaction::Send(answer));
        }
        self.answer.push(answer);
        intake.expect_attachments(packet.attachments);
        Ok(Reaction::Ignore)
    }
}

/// A packet in the namespace of `packet`, with the same number of attachments.
fn reply(packet: &Packet<'_>, kind: Kind, ack: Option<u64>, data: String) -> Bytes {
    let Packet { attachments, namespace, .. } = *packet;
    let reply = Packet { kind, attachments, namespace, ack, data: data.into() };
    ws::text(&["4", &reply.encode()])
}
