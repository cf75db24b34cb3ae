//! The transport of a socket's packets: a WebSocket, or HTTP requests (long-polling).

use std::{net::Shutdown, rc::Rc, sync::Weak};

use bytes::Bytes;
use tokio::{net::TcpStream, sync::oneshot, task::AbortHandle};

use crate::{
    command::Posting,
    wire::ws::{Violation, protocol_error},
};

/// Answers a waiting poll while its client upgrades to WebSocket.
const NOOP: Bytes = Bytes::from_static(b"6");

/// See the module.
#[derive(Debug)]
pub struct Transport {
    carrier: Carrier,
    /// The last write did not take the whole backlog. A task or the next poll resets this.
    blocked: bool,
    /// The socket was blocked at the last ping and nothing was sent since.
    stuck: bool,
}

#[derive(Debug)]
enum Carrier {
    WebSocket {
        stream: Rc<TcpStream>,
        reader: Option<AbortHandle>,
    },
    Polling {
        /// Answers the request that waits for packets.
        waiting: Option<oneshot::Sender<Bytes>>,
        /// A WebSocket is about to take over.
        upgrading: bool,
        /// Refers to the token of the request that is posting packets, if there is one.
        posting: Weak<()>,
    },
}

/// The result of sending a socket's backlog.
#[derive(Debug, PartialEq, Eq)]
pub enum Flushed {
    /// The backlog is empty.
    All,
    /// Not the whole backlog was sent: the peer does not read, or no poll waits.
    Blocked,
    /// The connection is broken.
    Broken,
    /// The last packet of a closing session was sent.
    Ended,
}

impl Transport {
    /// A WebSocket.
    pub fn websocket(stream: Rc<TcpStream>) -> Self {
        let carrier = Carrier::WebSocket { stream, reader: None };
        Self { carrier, blocked: false, stuck: false }
    }

    /// Long-polling, with the request that opened the session.
    pub fn polling(respond: oneshot::Sender<Bytes>) -> Self {
        let carrier =
            Carrier::Polling { waiting: Some(respond), upgrading: false, posting: Weak::new() };
        Self { carrier, blocked: false, stuck: false }
    }

    /// Its name in the protocol.
    pub fn name(&self) -> &'static str {
        if self.is_polling() { "polling" } else { "websocket" }
    }

    pub fn is_polling(&self) -> bool {
        matches!(self.carrier, Carrier::Polling { .. })
    }

    /// The WebSocket's connection.
    pub fn stream(&self) -> Option<&Rc<TcpStream>> {
        match &self.carrier {
            Carrier::WebSocket { stream, .. } => Some(stream),
            Carrier::Polling { .. } => None,
        }
    }

    /// The task that reads the WebSocket.
    pub fn set_reader(&mut self, task: AbortHandle) {
        if let Carrier::WebSocket { reader, .. } = &mut self.carrier {
            *reader = Some(task);
        }
    }

    /// Ends the task that reads the WebSocket.
    pub fn stop_reading(&mut self) {
        if let Carrier::WebSocket { reader, .. } = &mut self.carrier
            && let Some(reader) = reader.take()
        {
            reader.abort();
        }
    }

    /// Closes the sending side: the peer reads the close frame before the end of the stream.
    pub fn shutdown_write(&self) {
        if let Some(stream) = self.stream() {
            // An error means that the connection is closed already.
            let _ = socket2::SockRef::from(&**stream).shutdown(Shutdown::Write);
        }
    }

    /// Registers a request that polls for packets. A second one before the first was answered is a protocol
    /// error, also if the client has aborted the first. False for a WebSocket.
    pub fn poll(&mut self, respond: oneshot::Sender<Bytes>) -> Result<bool, Violation> {
        let Carrier::Polling { waiting, .. } = &mut self.carrier else { return Ok(false) };
        if waiting.is_some() {
            return Err(protocol_error("two polls at once"));
        }
        *waiting = Some(respond);
        Ok(true)
    }

    /// Takes the waiting poll, to be answered.
    pub fn take_poll(&mut self) -> Option<oneshot::Sender<Bytes>> {
        match &mut self.carrier {
            Carrier::Polling { waiting, .. } => waiting.take(),
            Carrier::WebSocket { .. } => None,
        }
    }

    /// Answers a waiting poll with a noop packet. False for a WebSocket.
    pub fn release_poll(&mut self) -> bool {
        if let Some(poll) = self.take_poll() {
            // The client may have hung up.
            let _ = poll.send(NOOP);
        }
        self.is_polling()
    }

    /// Permits a request to post packets, and sends it the maximum length of its body. Two at a time are a
    /// protocol error.
    pub fn begin_post(
        &mut self,
        max_bytes: usize,
        respond: oneshot::Sender<(Posting, usize)>,
    ) -> Result<(), Violation> {
        let Carrier::Polling { posting, .. } = &mut self.carrier else { return Ok(()) };
        if posting.strong_count() > 0 {
            return Err(protocol_error("two posts at once"));
        }
        let (token, observer) = Posting::new();
        *posting = observer;
        // The client may have hung up.
        let _ = respond.send((token, max_bytes));
        Ok(())
    }

    /// Starts an upgrade to a WebSocket. False if the socket is one already, or another upgrade is running.
    pub fn begin_upgrade(&mut self) -> bool {
        match &mut self.carrier {
            Carrier::Polling { upgrading, .. } => !std::mem::replace(upgrading, true),
            Carrier::WebSocket { .. } => false,
        }
    }

    /// Ends an upgrade that failed.
    pub fn cancel_upgrade(&mut self) {
        if let Carrier::Polling { upgrading, .. } = &mut self.carrier {
            *upgrading = false;
        }
    }

    /// Whether the last write did not take the whole backlog.
    pub fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Sets [`Self::is_blocked`]. Returns whether it changed.
    pub fn set_blocked(&mut self, blocked: bool) -> bool {
        self.stuck &= blocked;
        std::mem::replace(&mut self.blocked, blocked) != blocked
    }

    /// Whether nothing could be sent since the last ping. Such a socket is removed even if it answers pings,
    /// because its backlog takes memory. Must be called at every ping.
    pub fn check_stuck(&mut self) -> bool {
        std::mem::replace(&mut self.stuck, self.blocked)
    }
}
