//! A minimal blocking NATS client that publishes to a stream and sends requests
//! (<https://docs.nats.io/reference/reference-protocols/nats-protocol>).

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use crate::environment::NATS_PASSWORD;

const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// Messages in flight: as many as a gateway under load has.
const MAX_IN_FLIGHT: usize = 500;

/// A connection with one request at a time.
pub struct Nats {
    reader: BufReader<TcpStream>,
    inbox: String,
}

impl Nats {
    /// Connects as a user of infra/nats/nats.conf.
    pub fn connect(address: SocketAddr, role: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).context("cannot connect to NATS")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        let inbox = format!("_INBOX_{role}.bench");
        let mut nats = Self { reader: BufReader::new(stream), inbox };
        let hello = format!(
            "CONNECT {{\"verbose\":false,\"pedantic\":false,\"user\":\"{role}\",\"pass\":\"{NATS_PASSWORD}\"}}\r\n\
             SUB {} 1\r\n",
            nats.inbox
        );
        nats.write(hello.as_bytes())?;
        Ok(nats)
    }

    /// Publishes messages and waits until all are stored.
    pub fn publish(
        &mut self,
        messages: impl IntoIterator<Item = (String, Vec<u8>)>,
    ) -> anyhow::Result<()> {
        let mut messages = messages.into_iter();
        loop {
            let (mut out, mut count) = (Vec::new(), 0);
            for (subject, payload) in messages.by_ref().take(MAX_IN_FLIGHT) {
                frame(&subject, &self.inbox, &payload, &mut out);
                count += 1;
            }
            if count == 0 {
                return Ok(());
            }
            self.write(&out)?;
            for _ in 0..count {
                let reply = self.reply()?;
                ensure!(reply.get("error").is_none(), "the message was not stored: {reply}");
            }
        }
    }

    /// Sends a request to the JetStream API.
    pub fn request(&mut self, subject: &str) -> anyhow::Result<Value> {
        let mut out = Vec::new();
        frame(subject, &self.inbox, b"", &mut out);
        self.write(&out)?;
        let reply = self.reply()?;
        ensure!(reply.get("error").is_none(), "{subject}: {reply}");
        Ok(reply)
    }

    fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(self.reader.get_mut().write_all(bytes)?)
    }

    /// The next reply as JSON.
    fn reply(&mut self) -> anyhow::Result<Value> {
        loop {
            let mut line = String::new();
            let read = self.reader.read_line(&mut line).context("NATS does not reply")?;
            ensure!(read > 0, "NATS closed the connection");
            let line = line.trim_end();
            if let Some(rest) = line.strip_prefix("MSG ") {
                let length = rest.rsplit(' ').next().and_then(|length| length.parse().ok());
                let mut payload = vec![0; length.context("a NATS message without a length")?];
                self.reader.read_exact(&mut payload)?;
                let mut end = [0; 2];
                self.reader.read_exact(&mut end)?;
                return Ok(serde_json::from_slice(&payload)?);
            }
            match line {
                "PING" => self.write(b"PONG\r\n")?,
                line if line.starts_with("-ERR") => bail!("error from NATS: {line}"),
                // INFO, +OK
                _ => {}
            }
        }
    }
}

fn frame(subject: &str, reply: &str, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("PUB {subject} {reply} {}\r\n", payload.len()).as_bytes());
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}
