//! Engine.IO v4 packets and the Socket.IO v5 packets inside them, as text.
//!
//! <https://github.com/socketio/engine.io-protocol>, <https://github.com/socketio/socket.io-protocol>

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::ws::{Violation, protocol_error};

/// Attachments that a binary packet may announce. No event of the contract takes one; a few are
/// skipped so that a mistaken client learns of its mistake instead of losing its socket.
const MAX_ATTACHMENTS: u32 = 10;

/// An Engine.IO packet from a client over WebSocket.
#[derive(Debug, PartialEq, Eq)]
pub enum EnginePacket<'a> {
    Close,
    Ping(&'a str),
    Pong,
    Message(&'a str),
    /// Of no use once the transport is WebSocket.
    Noop,
}

impl<'a> EnginePacket<'a> {
    /// Reads one text message.
    pub fn parse(text: &'a str) -> Result<Self, Violation> {
        match text.split_at_checked(1) {
            Some(("1", "")) => Ok(Self::Close),
            Some(("2", data)) => Ok(Self::Ping(data)),
            Some(("3", _)) => Ok(Self::Pong),
            Some(("4", data)) => Ok(Self::Message(data)),
            Some(("6", "")) => Ok(Self::Noop),
            _ => Err(protocol_error("not an Engine.IO packet")),
        }
    }
}

/// A Socket.IO packet from a client.
#[derive(Debug)]
pub enum Packet<'a> {
    Connect {
        namespace: &'a str,
        auth: &'a str,
    },
    Disconnect {
        namespace: &'a str,
    },
    Event {
        name: String,
        data: Option<&'a RawValue>,
        extra: bool,
        ack: Option<u64>,
    },
    /// An event with attachments, which follow as binary messages.
    BinaryEvent {
        attachments: u32,
        ack: Option<u64>,
    },
    /// An answer to an event of ours; we ask for none.
    Ack,
}

impl<'a> Packet<'a> {
    /// Reads the data of an Engine.IO message packet.
    pub fn parse(text: &'a str) -> Result<Self, Violation> {
        let (kind, rest) = text.split_at_checked(1).ok_or(protocol_error("an empty packet"))?;
        let (attachments, rest) = match kind {
            "5" | "6" => attachments(rest)?,
            _ => (0, rest),
        };
        let (namespace, rest) = namespace(rest);
        match kind {
            "0" => Ok(Self::Connect { namespace, auth: rest }),
            "1" => Ok(Self::Disconnect { namespace }),
            _ if namespace != "/" => Err(protocol_error("not connected to that namespace")),
            "2" => {
                let (ack, arguments) = ack_id(rest)?;
                let Arguments { name, data, extra } =
                    serde_json::from_str(arguments).map_err(|_| {
                        protocol_error("an event is an array that starts with its name")
                    })?;
                Ok(Self::Event { name, data, extra, ack })
            }
            "5" => Ok(Self::BinaryEvent { attachments, ack: ack_id(rest)?.0 }),
            "3" => {
                let (Some(_), arguments) = ack_id(rest)? else {
                    return Err(protocol_error("an ack has an id"));
                };
                serde_json::from_str::<Vec<serde::de::IgnoredAny>>(arguments)
                    .map_err(|_| protocol_error("an ack's arguments are an array"))?;
                Ok(Self::Ack)
            }
            "6" => Err(protocol_error("an ack of nothing")),
            _ => Err(protocol_error("not a Socket.IO packet")),
        }
    }
}

fn attachments(rest: &str) -> Result<(u32, &str), Violation> {
    let (count, rest) = rest.split_once('-').ok_or(protocol_error("no attachment count"))?;
    match count.parse() {
        Ok(count @ 1..=MAX_ATTACHMENTS) => Ok((count, rest)),
        _ => Err(protocol_error("a bad attachment count")),
    }
}

/// `/name,` at the start; without it the namespace is `/`. A query behind it is passed over.
fn namespace(rest: &str) -> (&str, &str) {
    if !rest.starts_with('/') {
        return ("/", rest);
    }
    let (namespace, rest) = rest.split_once(',').unwrap_or((rest, ""));
    (namespace.split('?').next().unwrap_or(namespace), rest)
}

fn ack_id(rest: &str) -> Result<(Option<u64>, &str), Violation> {
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (id, arguments) = rest.split_at(digits);
    if id.is_empty() {
        return Ok((None, arguments));
    }
    match id.parse() {
        Ok(id) => Ok((Some(id), arguments)),
        Err(_) => Err(protocol_error("an ack id out of range")),
    }
}

/// `["name", data?, …]`.
struct Arguments<'a> {
    name: String,
    data: Option<&'a RawValue>,
    /// There was more than one argument.
    extra: bool,
}

impl<'de: 'a, 'a> Deserialize<'de> for Arguments<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Arguments<'de>;

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
                Ok(Arguments { name, data, extra })
            }
        }
        deserializer.deserialize_seq(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn packets_of_the_protocols_documents_are_read() {
        assert!(matches!(EnginePacket::parse("3"), Ok(EnginePacket::Pong)));
        assert!(matches!(EnginePacket::parse("4x"), Ok(EnginePacket::Message("x"))));
        assert!(matches!(
            Packet::parse(r#"0{"token":"123"}"#),
            Ok(Packet::Connect { namespace: "/", auth: r#"{"token":"123"}"# })
        ));
        assert!(matches!(
            Packet::parse("0/admin?token=1234&uid=abcd,"),
            Ok(Packet::Connect { namespace: "/admin", auth: "" })
        ));
        assert!(matches!(Packet::parse("1"), Ok(Packet::Disconnect { namespace: "/" })));
        let Ok(Packet::Event { name, data, extra: false, ack: Some(456) }) =
            Packet::parse(r#"2456["project:delete",123]"#)
        else {
            panic!("not read")
        };
        assert_eq!((name.as_str(), data.map(RawValue::get)), ("project:delete", Some("123")));
        assert!(matches!(
            Packet::parse(r#"51-["hello",{"_placeholder":true,"num":0}]"#),
            Ok(Packet::BinaryEvent { attachments: 1, ack: None })
        ));
        assert!(matches!(Packet::parse(r#"3456[]"#), Ok(Packet::Ack)));
    }

    #[test]
    fn what_is_no_packet_is_a_violation() {
        for bad in ["", "0", "5", "7", "x", "é"] {
            assert!(EnginePacket::parse(bad).is_err(), "{bad}");
        }
        for bad in [
            "",
            "9",
            "x",
            "2",
            "2{}",
            "2[]",
            "2[7]",
            "2[\"a\"",
            "2x[\"a\"]",
            "2/x,[\"a\"]",
            "299999999999999999999[\"a\"]",
            "3[]",
            "31{}",
            "5[\"a\"]",
            "50-[\"a\"]",
            "5999999-[\"a\"]",
            "61-1[]",
        ] {
            assert!(Packet::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "[0-9]{0,3}[-/,a-z]{0,4}\\PC{0,40}", any in "\\PC{0,20}") {
            let _ = (Packet::parse(&text), Packet::parse(&any), EnginePacket::parse(&any));
        }
    }
}
