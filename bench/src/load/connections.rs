//! Thousands of client connections on one thread with epoll.

use std::{
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    time::Duration,
};

use anyhow::{Context as _, bail};
use mio::{Events, Interest, Poll, Token, net::TcpStream, unix::SourceFd};
use rustix::{
    fd::{AsRawFd as _, OwnedFd},
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    },
};

use super::wire_protocol::{Parsed, WireProtocol};

/// Size of the receive buffer, which all connections share.
const BUFFER_BYTES: usize = 256 * 1024;
const EVENTS_PER_POLL: usize = 1_024;
const TIMER: Token = Token(usize::MAX);
/// Unsent bytes of one connection at which the run fails, because the server does not read.
const MAX_UNSENT_BYTES: usize = 4 * 1024 * 1024;

struct Connection {
    stream: TcpStream,
    protocol: WireProtocol,
    is_open: bool,
    /// The beginning of an incomplete frame.
    partial: Vec<u8>,
    unsent: Vec<u8>,
    /// The last frame that was not a message: before a disconnect, the close frame.
    last_control_frame: Vec<u8>,
}

/// Texts to send, each with the number of a connection.
#[derive(Default)]
pub struct SendQueue(Vec<(usize, String)>);

impl SendQueue {
    /// The text is sent at the end of the current poll.
    pub fn push(&mut self, connection: usize, text: impl Into<String>) {
        self.0.push((connection, text.into()));
    }
}

/// An event of a connection.
pub enum Received<'a> {
    /// The handshake is complete.
    Connected,
    Message(&'a [u8]),
}

pub struct Connections {
    poll: Poll,
    events: Events,
    connections: Vec<Option<Connection>>,
    buffer: Vec<u8>,
    /// For waits that are not whole milliseconds, the resolution of epoll.
    timer: OwnedFd,
    /// Total bytes received.
    pub received: u64,
}

impl Connections {
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
        let mut source = SourceFd(&timer.as_raw_fd());
        poll.registry().register(&mut source, TIMER, Interest::READABLE)?;
        Ok(Self {
            poll,
            timer,
            events: Events::with_capacity(EVENTS_PER_POLL),
            connections: Vec::new(),
            buffer: vec![0; BUFFER_BYTES],
            received: 0,
        })
    }

    /// Opens a connection and returns its number, by which the other methods refer to it.
    pub fn connect(
        &mut self,
        address: SocketAddr,
        protocol: WireProtocol,
    ) -> anyhow::Result<usize> {
        let mut stream = TcpStream::connect(address).context("cannot connect")?;
        // An optimisation, so a failure does not matter.
        let _ = stream.set_nodelay(true);
        let number = self.connections.len();
        self.poll.registry().register(
            &mut stream,
            Token(number),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        let unsent = protocol.greeting(address);
        let is_open = protocol != WireProtocol::SocketIo;
        let connection = Connection {
            stream,
            protocol,
            is_open,
            partial: Vec::new(),
            unsent,
            last_control_frame: Vec::new(),
        };
        self.connections.push(Some(connection));
        Ok(number)
    }

    pub fn close(&mut self, number: usize) {
        self.connections[number] = None;
    }

    pub fn send(&mut self, number: usize, text: &str) -> anyhow::Result<()> {
        let Some(connection) = &mut self.connections[number] else {
            bail!("the connection is closed")
        };
        connection.protocol.encode(text, &mut connection.unsent);
        connection.write()
    }

    /// Makes one [`Self::poll`] return after `wait`, with the resolution of timerfd.
    pub fn wake_after(&mut self, wait: Duration) -> anyhow::Result<()> {
        // Zero would disarm the timer.
        let wait = wait.max(Duration::from_nanos(1));
        let it_value =
            Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        // Setting the timer re-arms its edge-triggered event, so its counter need not be read.
        timerfd_settime(
            &self.timer,
            TimerfdTimerFlags::empty(),
            &Itimerspec { it_interval, it_value },
        )?;
        Ok(())
    }

    /// Handles all received messages. Waits for at most `wait` until something is received.
    pub fn poll(
        &mut self,
        wait: Duration,
        mut on_event: impl FnMut(usize, Received<'_>, &mut SendQueue) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut send_queue = SendQueue::default();
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in &self.events {
            if event.token() == TIMER {
                continue;
            }
            let number = event.token().0;
            let Some(connection) = &mut self.connections[number] else { continue };
            if event.is_writable() {
                connection.write().with_context(|| format!("on connection {number}"))?;
            }
            if event.is_readable() {
                self.received += connection
                    .read(&mut self.buffer, &mut |event| on_event(number, event, &mut send_queue))
                    .with_context(|| format!("on connection {number}"))?;
            }
        }
        for (number, text) in send_queue.0 {
            self.send(number, &text)?;
        }
        Ok(())
    }
}

impl Connection {
    fn write(&mut self) -> anyhow::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(written) => drop(self.unsent.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::NotConnected => break,
                Err(error) => return Err(error.into()),
            }
        }
        if self.unsent.is_empty() {
            self.unsent = Vec::new();
        } else if self.unsent.len() > MAX_UNSENT_BYTES {
            bail!("the server does not read");
        }
        Ok(())
    }

    fn read(
        &mut self,
        buffer: &mut [u8],
        on_event: &mut impl FnMut(Received<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<u64> {
        let mut received = 0;
        loop {
            let kept = self.partial.len();
            buffer[..kept].copy_from_slice(&self.partial);
            let count = match self.stream.read(&mut buffer[kept..]) {
                Ok(0) => bail!(
                    "the server closed the connection: {}",
                    String::from_utf8_lossy(&self.last_control_frame)
                ),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(received),
                Err(error) => return Err(error.into()),
            };
            received += count as u64;
            let end = kept + count;
            let parsed = self.handle_frames(&buffer[..end], on_event)?;
            self.partial.clear();
            self.partial.extend_from_slice(&buffer[parsed..end]);
            if self.partial.is_empty() {
                self.partial = Vec::new();
            }
            if end < buffer.len() {
                // A short read means that the socket is empty, see epoll(7) on edge-triggered events.
                return Ok(received);
            }
        }
    }

    /// Handles all complete frames and returns their total length.
    fn handle_frames(
        &mut self,
        bytes: &[u8],
        on_event: &mut impl FnMut(Received<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<usize> {
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            match self.protocol.parse(rest, self.is_open) {
                Parsed::Incomplete => return Ok(at),
                Parsed::Skip(length) => {
                    self.last_control_frame = rest[..length].to_vec();
                    at += length;
                }
                Parsed::Message(range, length) if self.is_open => {
                    on_event(Received::Message(&rest[range]))?;
                    at += length;
                }
                Parsed::Message(range, length) => {
                    let response = &rest[range];
                    if !response.starts_with(b"HTTP/1.1 101") {
                        bail!("the handshake failed: {}", String::from_utf8_lossy(response));
                    }
                    self.is_open = true;
                    at += length;
                    on_event(Received::Connected)?;
                }
            }
        }
    }
}
