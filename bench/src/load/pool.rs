//! Thousands of connections on one thread, for as little as epoll costs.

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

use super::dialect::{Dialect, Piece};

const CHUNK: usize = 256 * 1024;
const EVENTS: usize = 1_024;
const TIMER: Token = Token(usize::MAX);
/// What one connection may have unsent before the server counts as stuck.
const UNSENT_AT_MOST: usize = 4 * 1024 * 1024;

struct Connection {
    stream: TcpStream,
    dialect: Dialect,
    opened: bool,
    /// The beginning of a piece that has yet to arrive as a whole.
    partial: Vec<u8>,
    unsent: Vec<u8>,
    /// The close frame that came.
    farewell: Vec<u8>,
}

/// Texts to send, each to a connection.
#[derive(Default)]
pub struct Sends(Vec<(usize, String)>);

impl Sends {
    /// Sends a text when the turn ends.
    pub fn push(&mut self, connection: usize, text: impl Into<String>) {
        self.0.push((connection, text.into()));
    }
}

/// What a connection brought.
pub enum Seen<'a> {
    /// The handshake is over.
    Open,
    /// A message.
    Text(&'a [u8]),
}

/// See the module.
pub struct Pool {
    poll: Poll,
    events: Events,
    connections: Vec<Option<Connection>>,
    chunk: Vec<u8>,
    /// epoll itself waits for whole milliseconds only.
    timer: OwnedFd,
    /// Bytes received.
    pub received: u64,
}

impl Pool {
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
        let mut source = SourceFd(&timer.as_raw_fd());
        poll.registry().register(&mut source, TIMER, Interest::READABLE)?;
        Ok(Self {
            poll,
            timer,
            events: Events::with_capacity(EVENTS),
            connections: Vec::new(),
            chunk: vec![0; CHUNK],
            received: 0,
        })
    }

    /// Opens a connection; its number is what the others are called with.
    pub fn connect(&mut self, address: SocketAddr, dialect: Dialect) -> anyhow::Result<usize> {
        let mut stream = TcpStream::connect(address).context("cannot connect")?;
        // What leaves later waits for nothing.
        let _ = stream.set_nodelay(true);
        let number = self.connections.len();
        self.poll.registry().register(
            &mut stream,
            Token(number),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        let unsent = dialect.greeting(address);
        let opened = dialect != Dialect::SocketIo;
        let connection = Connection {
            stream,
            dialect,
            opened,
            partial: Vec::new(),
            unsent,
            farewell: Vec::new(),
        };
        self.connections.push(Some(connection));
        Ok(number)
    }

    /// Closes a connection.
    pub fn close(&mut self, number: usize) {
        self.connections[number] = None;
    }

    /// Sends a text now.
    pub fn send(&mut self, number: usize, text: &str) -> anyhow::Result<()> {
        let Some(connection) = &mut self.connections[number] else { bail!("it is closed") };
        connection.dialect.frame(text, &mut connection.unsent);
        connection.write()
    }

    /// Has a turn end after `wait`, once.
    pub fn wake_after(&mut self, wait: Duration) -> anyhow::Result<()> {
        // Zero would switch the timer off.
        let wait = wait.max(Duration::from_nanos(1));
        let it_value =
            Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        // Setting it makes its edge anew, so that it needs no reading.
        timerfd_settime(
            &self.timer,
            TimerfdTimerFlags::empty(),
            &Itimerspec { it_interval, it_value },
        )?;
        Ok(())
    }

    /// Takes what arrived, waiting at most `wait` for it.
    pub fn turn(
        &mut self,
        wait: Duration,
        mut seen: impl FnMut(usize, Seen<'_>, &mut Sends) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut sends = Sends::default();
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
                    .read(&mut self.chunk, &mut |text| seen(number, text, &mut sends))
                    .with_context(|| format!("on connection {number}"))?;
            }
        }
        for (number, text) in sends.0 {
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
        } else if self.unsent.len() > UNSENT_AT_MOST {
            bail!("the server takes nothing");
        }
        Ok(())
    }

    fn read(
        &mut self,
        chunk: &mut [u8],
        seen: &mut impl FnMut(Seen<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<u64> {
        let mut received = 0;
        loop {
            let kept = self.partial.len();
            chunk[..kept].copy_from_slice(&self.partial);
            let count = match self.stream.read(&mut chunk[kept..]) {
                Ok(0) => bail!("the server closed it: {}", String::from_utf8_lossy(&self.farewell)),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(received),
                Err(error) => return Err(error.into()),
            };
            received += count as u64;
            let end = kept + count;
            let mut at = 0;
            loop {
                match self.dialect.next(&chunk[at..end], self.opened) {
                    Piece::Incomplete => break,
                    Piece::Skip(length) => {
                        self.farewell = chunk[at..at + length].to_vec();
                        at += length;
                    }
                    Piece::Message(range, length) if self.opened => {
                        seen(Seen::Text(&chunk[at + range.start..at + range.end]))?;
                        at += length;
                    }
                    Piece::Message(range, length) => {
                        let answer = &chunk[at + range.start..at + range.end];
                        if !answer.starts_with(b"HTTP/1.1 101") {
                            bail!("refused: {}", String::from_utf8_lossy(answer));
                        }
                        self.opened = true;
                        at += length;
                        seen(Seen::Open)?;
                    }
                }
            }
            self.partial.clear();
            self.partial.extend_from_slice(&chunk[at..end]);
            if self.partial.is_empty() {
                self.partial = Vec::new();
            }
            if end < chunk.len() {
                // Less than there was room for: the socket is empty (epoll(7), edge-triggered).
                return Ok(received);
            }
        }
    }
}
