//! Echo handlers, for the protocols' conformance suites: what a server of the reference
//! implementation does in them. Served only where `CONFORMANCE_ECHO` is set; see the configuration.

use serde_json::value::RawValue;

use super::{SocketId, socket::Stage, state::Worker};
use crate::{
    wire::packet::{Kind, Packet},
    wire::ws::{self, Message, Violation, protocol_error},
};

/// Namespaces that may be connected to.
const NAMESPACES: [&str; 2] = ["/", "/custom"];

/// A socket that is echoed.
#[derive(Debug, Default)]
pub struct Echo {
    /// Engine.IO messages come back as they are; there is no Socket.IO in them.
    pub engine_only: bool,
    namespaces: Vec<&'static str>,
    /// What is sent once all attachments are there: the packet, then they.
    answer: Vec<bytes::Bytes>,
}

impl Echo {
    /// Echoes Engine.IO messages.
    pub fn engine() -> Self {
        Self { engine_only: true, ..Self::default() }
    }
}

impl Worker {
    /// Sends an Engine.IO message back.
    pub(super) fn echo_message(&mut self, id: SocketId, message: &Message) {
        match message {
            Message::Text(text) => self.push(id, ws::text(&[text])),
            Message::Binary(bytes) => self.push(id, ws::binary(bytes)),
            _ => {}
        }
    }

    pub(super) fn echo_packet(
        &mut self,
        id: SocketId,
        packet: &Packet<'_>,
    ) -> Result<(), Violation> {
        let Some(socket) = self.socket(id) else { return Ok(()) };
        if matches!(socket.stage, Stage::Unidentified) {
            socket.stage = Stage::Echo(Box::default());
        }
        let Stage::Echo(echo) = &mut socket.stage else { return Ok(()) };
        let known = NAMESPACES.into_iter().find(|name| *name == packet.namespace);
        let reply = |kind, ack, data: String| {
            let namespace = packet.namespace;
            let reply =
                Packet { kind, attachments: packet.attachments, namespace, ack, data: data.into() };
            ws::text(&["4", &reply.encode()])
        };
        match (packet.kind, known) {
            (Kind::Connect, Some(namespace)) => {
                if !echo.namespaces.contains(&namespace) {
                    echo.namespaces.push(namespace);
                }
                let auth = if packet.data.is_empty() { "{}" } else { &packet.data };
                let sid = uuid::Uuid::new_v4().simple();
                self.push(id, reply(Kind::Connect, None, format!(r#"{{"sid":"{sid}"}}"#)));
                self.push(id, reply(Kind::Event, None, format!(r#"["auth",{auth}]"#)));
            }
            (Kind::Connect, None) => self.refuse_namespace(id, packet.namespace),
            (Kind::Disconnect, _) => echo.namespaces.retain(|name| *name != packet.namespace),
            (Kind::Event, Some(namespace)) if echo.namespaces.contains(&namespace) => {
                let arguments: Vec<&RawValue> =
                    serde_json::from_str(&packet.data).map_err(|_| NO_ECHO)?;
                let (name, rest) = arguments.split_first().ok_or(NO_ECHO)?;
                let rest: Vec<&str> = rest.iter().map(|value| value.get()).collect();
                let answer = match (name.get(), packet.ack) {
                    (r#""message""#, _) => {
                        let all = [&[r#""message-back""#], &rest[..]].concat().join(",");
                        reply(Kind::Event, None, format!("[{all}]"))
                    }
                    (r#""message-with-ack""#, Some(ack)) => {
                        reply(Kind::Ack, Some(ack), format!("[{}]", rest.join(",")))
                    }
                    _ => return Ok(()),
                };
                if packet.attachments > 0 {
                    echo.answer.push(answer);
                    socket.attachments = packet.attachments;
                } else {
                    self.push(id, answer);
                }
            }
            _ => return Err(protocol_error("not connected to that namespace")),
        }
        Ok(())
    }

    /// Takes an attachment of the packet before it; `is_last` sends the answer.
    pub(super) fn echo_attachment(&mut self, id: SocketId, bytes: &[u8], is_last: bool) {
        let Some(Stage::Echo(echo)) = self.socket(id).map(|socket| &mut socket.stage) else {
            return;
        };
        echo.answer.push(ws::binary(bytes));
        if is_last {
            for frame in std::mem::take(&mut echo.answer) {
                self.push(id, frame);
            }
        }
    }
}

const NO_ECHO: Violation = protocol_error("an event is an array that starts with its name");
