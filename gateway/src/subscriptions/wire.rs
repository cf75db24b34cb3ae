//! A decoder of the part of NATS's client protocol that a subscriber needs.
//!
//! <https://docs.nats.io/reference/reference-protocols/nats-protocol>

use bytes::{Buf as _, BytesMut};
use serde::Deserialize;

/// Maximum bytes of one line. The server's `INFO`, which lists the cluster's other servers, is the longest.
const MAX_LINE: usize = 64 * 1024;
/// Maximum bytes of one message: NATS's own upper bound. Its default is 1 MiB.
const MAX_MESSAGE: usize = 64 * 1024 * 1024;

/// The server violated the protocol: the connection cannot be used any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the NATS server sent {0}")]
pub struct ProtocolError(&'static str);

/// The server's `INFO`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ServerInfo {
    pub nonce: String,
    pub tls_required: bool,
    /// Addresses of the cluster's servers.
    pub connect_urls: Vec<String>,
}

/// A message of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// The subscription's id.
    pub sid: u64,
    pub reply: Option<&'a str>,
    headers: &'a [u8],
    pub payload: &'a [u8],
}

/// An operation of the server.
#[derive(Debug, PartialEq, Eq)]
pub enum Operation<'a> {
    Info(Box<ServerInfo>),
    Message(Message<'a>),
    Ping,
    Pong,
    Ok,
    Error(&'a str),
}

impl<'a> Message<'a> {
    /// The last value of a header. A publisher can set any header; the server appends its own after them.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        let lines = self.headers.rsplit(|byte| *byte == b'\n');
        lines
            .filter_map(|line| std::str::from_utf8(line).ok()?.split_once(':'))
            .find_map(|(found, value)| (found == name).then_some(value.trim_ascii()))
    }
}

/// Decodes received bytes into operations.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The received bytes. The reader appends to it.
    pub buffer: BytesMut,
    /// Bytes of the last operation.
    taken: usize,
}

impl Decoder {
    /// The next operation, once it is complete.
    pub fn operation(&mut self) -> Result<Option<Operation<'_>>, ProtocolError> {
        self.buffer.advance(std::mem::take(&mut self.taken));
        let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') else {
            return match self.buffer.len() > MAX_LINE {
                true => Err(ProtocolError("a line without end")),
                false => Ok(None),
            };
        };
        let rest = end + 1;
        let line = std::str::from_utf8(&self.buffer[..end]);
        let line = line.map_err(|_| ProtocolError("a line that is not UTF-8"))?.trim_ascii_end();
        let (name, arguments) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        let operation = match name {
            "MSG" | "HMSG" => {
                let sizes = Sizes::parse(name == "HMSG", arguments)?;
                let all = rest + sizes.total + 2;
                if self.buffer.len() < all {
                    return Ok(None);
                }
                self.taken = all;
                let (headers, payload) =
                    self.buffer[rest..rest + sizes.total].split_at(sizes.headers);
                let Sizes { sid, reply, .. } = sizes;
                return Ok(Some(Operation::Message(Message { sid, reply, headers, payload })));
            }
            "PING" => Operation::Ping,
            "PONG" => Operation::Pong,
            "+OK" => Operation::Ok,
            "-ERR" => Operation::Error(arguments.trim_ascii()),
            "INFO" => {
                let info = serde_json::from_str(arguments);
                Operation::Info(info.map_err(|_| ProtocolError("an INFO that is no JSON"))?)
            }
            _ => return Err(ProtocolError("an operation that is unknown")),
        };
        self.taken = rest;
        Ok(Some(operation))
    }
}

/// The arguments of `MSG` and `HMSG`.
struct Sizes<'a> {
    sid: u64,
    reply: Option<&'a str>,
    headers: usize,
    /// Including the headers.
    total: usize,
}

impl<'a> Sizes<'a> {
    fn parse(with_headers: bool, arguments: &'a str) -> Result<Self, ProtocolError> {
        let wrong = ProtocolError("a message that cannot be read");
        let fields: Vec<&str> = arguments.split_ascii_whitespace().collect();
        let (sid, reply, headers, total) = match (with_headers, &fields[..]) {
            (false, [_, sid, total]) => (sid, None, "0", total),
            (false, [_, sid, reply, total]) => (sid, Some(*reply), "0", total),
            (true, [_, sid, headers, total]) => (sid, None, *headers, total),
            (true, [_, sid, reply, headers, total]) => (sid, Some(*reply), *headers, total),
            _ => return Err(wrong),
        };
        let number = |text: &str| text.parse::<usize>().map_err(|_| wrong);
        let (headers, total) = (number(headers)?, number(total)?);
        if headers > total || total > MAX_MESSAGE {
            return Err(wrong);
        }
        Ok(Self { sid: sid.parse().map_err(|_| wrong)?, reply, headers, total })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn operations(bytes: &[u8], chunk: usize) -> Result<Vec<String>, ProtocolError> {
        let (mut decoder, mut found) = (Decoder::default(), Vec::new());
        for bytes in bytes.chunks(chunk.max(1)) {
            decoder.buffer.extend_from_slice(bytes);
            while let Some(operation) = decoder.operation()? {
                found.push(match operation {
                    Operation::Message(message) => format!(
                        "{} {:?} {:?} {}",
                        message.sid,
                        message.reply,
                        message.header("Nats-Sequence"),
                        String::from_utf8_lossy(message.payload)
                    ),
                    other => format!("{other:?}"),
                });
            }
        }
        Ok(found)
    }

    #[test]
    fn operations_of_a_server_are_read() {
        let info = "INFO {\"server_id\":\"X\",\"nonce\":\"abc\",\"connect_urls\":[\"10.0.0.1:4222\"]} \r\n";
        let mut decoder = Decoder::default();
        decoder.buffer.extend_from_slice(info.as_bytes());
        let expected = ServerInfo {
            nonce: "abc".into(),
            tls_required: false,
            connect_urls: vec!["10.0.0.1:4222".into()],
        };
        assert_eq!(decoder.operation(), Ok(Some(Operation::Info(Box::new(expected)))));
        // The publisher's header comes first; the last one, set by the server, is used.
        let headers = "NATS/1.0\r\nNats-Sequence: 3\r\nNats-Sequence: 12\r\nOther: x\r\n\r\n";
        let (size, all) = (headers.len(), headers.len() + 2);
        let rest = format!(
            "PING\r\n+OK\r\n-ERR 'Permissions Violation'\r\nPONG\r\n\
             MSG a.b 7 5\r\nhello\r\nMSG a.b 8 _INBOX.x 0\r\n\r\n\
             HMSG a.b 9 {size} {all}\r\n{headers}{{}}\r\n"
        );
        assert_eq!(
            operations(rest.as_bytes(), 1).unwrap(),
            [
                "Ping",
                "Ok",
                "Error(\"'Permissions Violation'\")",
                "Pong",
                "7 None None hello",
                "8 Some(\"_INBOX.x\") None ",
                "9 None Some(\"12\") {}",
            ]
        );
    }

    #[test]
    fn an_invalid_operation_ends_the_connection() {
        for text in ["NOPE\r\n", "MSG a 1\r\n", "MSG a x 1\r\n", "HMSG a 1 9 4\r\n", "INFO {\r\n"] {
            assert!(operations(text.as_bytes(), 100).is_err(), "{text}");
        }
        assert!(operations(&[b'x'; MAX_LINE + 1], 1_000).is_err());
        assert!(operations(b"MSG a 1 99999999999\r\n", 100).is_err());
    }

    proptest! {
        #[test]
        fn messages_arrive_however_the_network_cuts_them(
            payloads in prop::collection::vec("[a-z\r\n ]{0,40}", 0..10),
            chunk in 1..60_usize,
        ) {
            let all: String = payloads
                .iter()
                .enumerate()
                .map(|(sid, payload)| format!("MSG chat.x {sid} {}\r\n{payload}\r\n", payload.len()))
                .collect();
            let expected: Vec<String> = payloads
                .iter()
                .enumerate()
                .map(|(sid, payload)| format!("{sid} None None {payload}"))
                .collect();
            prop_assert_eq!(operations(all.as_bytes(), chunk), Ok(expected));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, chunk in 1..20_usize) {
            let _ = operations(&bytes, chunk);
        }
    }
}
