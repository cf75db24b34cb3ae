//! Engine.IO v4 packets and the Socket.IO v5 packets inside them, as text.
//!
//! <https://github.com/socketio/engine.io-protocol>, <https://github.com/socketio/socket.io-protocol>

use std::borrow::Cow;

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::ws::{Violation, protocol_error};

/// Maximum number of attachments of a binary packet. No event accepts one, but with a few a faulty client gets
/// an error instead of losing its socket.
const MAX_ATTACHMENTS: u32 = 10;

/// Maximum bytes of a namespace's name. Bounded, because a refusal contains the name.
const MAX_NAMESPACE: usize = 256;

/// Base64 as the clients' encoders write it. The padding may be missing, as the reference accepts it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// An Engine.IO packet from a client.
#[derive(Debug, PartialEq, Eq)]
pub enum EnginePacket<'a> {
    Close,
    Ping(&'a str),
    Pong,
    Message(&'a str),
    /// A binary message as base64. Long-polling has no other form; over WebSocket the official client sends it
    /// with `forceBase64`.
    Binary(Bytes),
    /// The client switches from long-polling to a WebSocket.
    Upgrade,
    Noop,
}

impl<'a> EnginePacket<'a> {
    /// Parses a text message.
    pub fn parse(text: &'a str) -> Result<Self, Violation> {
        match text.split_at_checked(1) {
            Some(("1", "")) => Ok(Self::Close),
            Some(("2", data)) => Ok(Self::Ping(data)),
            Some(("3", _)) => Ok(Self::Pong),
            Some(("4", data)) => Ok(Self::Message(data)),
            Some(("5", "")) => Ok(Self::Upgrade),
            Some(("6", "")) => Ok(Self::Noop),
            Some(("b", base64)) => match BASE64.decode(base64) {
                Ok(bytes) => Ok(Self::Binary(bytes.into())),
                Err(_) => Err(protocol_error("binary that is not base64")),
            },
            _ => Err(protocol_error("not an Engine.IO packet")),
        }
    }
}

/// The type of a Socket.IO packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Connect,
    Disconnect,
    Event,
    Ack,
    ConnectError,
}

/// A Socket.IO packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet<'a> {
    pub kind: Kind,
    /// Number of binary messages that follow and belong to the packet; only for [`Kind::Event`] and
    /// [`Kind::Ack`].
    pub attachments: u32,
    /// `/` when the packet names none.
    pub namespace: &'a str,
    pub ack: Option<u64>,
    /// JSON. For an event: an array that begins with its name. For an ack: an array. For other kinds: an object
    /// or empty.
    pub data: Cow<'a, str>,
}

impl<'a> Packet<'a> {
    /// A packet of the namespace `/` without attachments.
    #[cfg(test)]
    pub fn new(kind: Kind, ack: Option<u64>, data: impl Into<Cow<'a, str>>) -> Self {
        Self { kind, attachments: 0, namespace: "/", ack, data: data.into() }
    }

    /// Parses the data of an Engine.IO message packet from a client.
    pub fn parse(text: &'a str) -> Result<Self, Violation> {
        let (kind, rest) = text.split_at_checked(1).ok_or(protocol_error("an empty packet"))?;
        let (kind, is_binary) = match kind {
            "0" => (Kind::Connect, false),
            "1" => (Kind::Disconnect, false),
            "2" => (Kind::Event, false),
            "3" => (Kind::Ack, false),
            "5" => (Kind::Event, true),
            "6" => (Kind::Ack, true),
            _ => return Err(protocol_error("not a Socket.IO packet")),
        };
        let (attachments, rest) = if is_binary { attachments(rest)? } else { (0, rest) };
        let (namespace, rest) = namespace(rest);
        if namespace.len() > MAX_NAMESPACE {
            return Err(protocol_error("a namespace's name is too long"));
        }
        let (ack, data) = ack_id(rest)?;
        let packet = Self { kind, attachments, namespace, ack, data: data.into() };
        packet.check()?;
        Ok(packet)
    }

    fn check(&self) -> Result<(), Violation> {
        match self.kind {
            Kind::Connect | Kind::Disconnect if self.ack.is_some() => {
                Err(protocol_error("only events and acks have an id"))
            }
            Kind::Connect if self.data.is_empty() => Ok(()),
            Kind::Connect if is_object(&self.data) => Ok(()),
            Kind::Connect => Err(protocol_error("what a client connects with is an object")),
            Kind::Disconnect if self.data.is_empty() => Ok(()),
            Kind::Disconnect => Err(protocol_error("a disconnect has no data")),
            Kind::Ack if self.ack.is_none() => Err(protocol_error("an ack has an id")),
            Kind::Event if self.attachments == 0 => self.event().map(drop),
            Kind::Event | Kind::Ack => {
                let arguments: Vec<Value> = serde_json::from_str(&self.data)
                    .map_err(|_| protocol_error("arguments are an array"))?;
                if self.kind == Kind::Event && !matches!(arguments.first(), Some(Value::String(_)))
                {
                    return Err(NO_EVENT);
                }
                let in_range =
                    arguments.iter().all(|value| placeholders_below(value, self.attachments));
                if in_range { Ok(()) } else { Err(protocol_error("no such attachment")) }
            }
            Kind::ConnectError => Err(protocol_error("not a client's packet")),
        }
    }

    /// The event's name, for rate limits, without parsing the data. Empty if the name contains escapes.
    pub fn event_name(&self) -> &str {
        let name = self.data.trim_start().strip_prefix('[').map(str::trim_start);
        let name = name.and_then(|rest| rest.strip_prefix('"')?.split_once('"'));
        name.map_or("", |(name, _)| name)
    }

    /// The event of a packet without attachments.
    pub fn event(&self) -> Result<Event<'_>, Violation> {
        serde_json::from_str(&self.data).map_err(|_| NO_EVENT)
    }

    /// The packet as the data of an Engine.IO message packet.
    pub fn encode(&self) -> String {
        let kind = match (self.kind, self.attachments) {
            (Kind::Connect, _) => "0",
            (Kind::Disconnect, _) => "1",
            (Kind::Event, 0) => "2",
            (Kind::Ack, 0) => "3",
            (Kind::ConnectError, _) => "4",
            (Kind::Event, _) => "5",
            (Kind::Ack, _) => "6",
        };
        let attachments = match self.attachments {
            0 => String::new(),
            count => format!("{count}-"),
        };
        let (namespace, comma) =
            if self.namespace == "/" { ("", "") } else { (self.namespace, ",") };
        let ack = self.ack.map(|ack| ack.to_string()).unwrap_or_default();
        format!("{kind}{attachments}{namespace}{comma}{ack}{}", self.data)
    }
}

const NO_EVENT: Violation = protocol_error("an event is an array that starts with its name");

fn is_object(json: &str) -> bool {
    json.starts_with('{') && serde_json::from_str::<&RawValue>(json).is_ok()
}

fn placeholders_below(value: &Value, count: u32) -> bool {
    match value {
        Value::Array(values) => values.iter().all(|value| placeholders_below(value, count)),
        Value::Object(fields) if fields.get("_placeholder") == Some(&Value::Bool(true)) => {
            fields.get("num").and_then(Value::as_u64).is_some_and(|num| num < u64::from(count))
        }
        Value::Object(fields) => fields.values().all(|value| placeholders_below(value, count)),
        _ => true,
    }
}

fn attachments(rest: &str) -> Result<(u32, &str), Violation> {
    let (count, rest) = rest.split_once('-').ok_or(protocol_error("no attachment count"))?;
    match count.parse() {
        Ok(count @ 1..=MAX_ATTACHMENTS) => Ok((count, rest)),
        _ => Err(protocol_error("a bad attachment count")),
    }
}

/// Splits the namespace from the rest: `/name,` at the start, or else `/`. A query after the name is ignored.
fn namespace(rest: &str) -> (&str, &str) {
    if !rest.starts_with('/') {
        return ("/", rest);
    }
    let (namespace, rest) = rest.split_once(',').unwrap_or((rest, ""));
    (namespace.split('?').next().unwrap_or(namespace), rest)
}

fn ack_id(rest: &str) -> Result<(Option<u64>, &str), Violation> {
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (id, data) = rest.split_at(digits);
    if id.is_empty() {
        return Ok((None, data));
    }
    match id.parse() {
        Ok(id) => Ok((Some(id), data)),
        Err(_) => Err(protocol_error("an ack id out of range")),
    }
}

/// `["name", data?, …]`.
#[derive(Debug)]
pub struct Event<'a> {
    pub name: String,
    pub data: Option<&'a RawValue>,
    /// There was more than one argument.
    pub extra: bool,
}

impl<'de: 'a, 'a> Deserialize<'de> for Event<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Event<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an array that starts with a name")
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut seq: A,
            ) -> Result<Self::Value, A::Error> {
                let name = seq
                    .next_element()?
                    .ok_or_else(|| serde::de::Error::invalid_length(0, &self))?;
                let data = seq.next_element()?;
                let mut extra = false;
                while seq.next_element::<serde::de::IgnoredAny>()?.is_some() {
                    extra = true;
                }
                Ok(Event { name, data, extra })
            }
        }
        deserializer.deserialize_seq(Visitor)
    }
}

#[cfg(test)]
#[path = "packet_tests.rs"]
mod tests;
