//! A socket, composed of its parts.

mod receive;
mod write;

use bytes::Bytes;
use service::{
    admission::Admitted,
    trace::{Span, TraceParent},
};
use uuid::Uuid;

use super::{
    backlog::Backlog,
    chat::Chat,
    gate::{Gate, Pause},
    handler::{ConnectionState, Handler},
    intake::Intake,
    publishing::Publishing,
    stats::SocketStats,
    transport::Transport,
};
use crate::{memory::Budget, session::Session, wire::ws::Decoder};

/// Unread bytes in the outbox from which on the socket is not read from.
const OUTBOX_PAUSES_READING: usize = 256 * 1024;

/// See the module.
pub struct Socket {
    /// The random part of its session id.
    secret: Uuid,
    transport: Transport,
    state: ConnectionState,
    intake: Intake,
    gate: Gate,
    backlog: Backlog,
    publishing: Publishing,
    stats: SocketStats,
    /// Counts the socket towards the limit of its address.
    _admitted: Option<Admitted>,
    /// Counts the socket towards the limit of its user, while it is authenticated.
    admitted_user: Option<Admitted>,
    /// The trace of the connection's handshake. Boxed, because few clients send one.
    trace: Option<Box<TraceParent>>,
}

impl Socket {
    /// A socket that has received and sent nothing yet.
    pub fn new(
        transport: Transport,
        handler: Handler,
        intake: Intake,
        admitted: Option<Admitted>,
        budget: &Budget,
    ) -> Self {
        Self {
            secret: Uuid::new_v4(),
            transport,
            state: ConnectionState::Open(handler),
            intake,
            gate: Gate::default(),
            backlog: Backlog::new(budget.nothing()),
            publishing: Publishing::new(budget.nothing()),
            stats: SocketStats::default(),
            _admitted: admitted,
            admitted_user: None,
            trace: None,
        }
    }

    pub fn set_trace(&mut self, trace: Option<TraceParent>) {
        self.trace = trace.map(Box::new);
    }

    /// A span of one of its client's events, if the trace is sampled.
    pub fn span(&self, name: &'static str) -> Option<Span> {
        Span::of_event(name, self.trace.as_deref().copied())
    }

    pub fn secret(&self) -> Uuid {
        self.secret
    }

    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    pub fn transport_mut(&mut self) -> &mut Transport {
        &mut self.transport
    }

    pub fn intake_mut(&mut self) -> &mut Intake {
        &mut self.intake
    }

    pub fn gate_mut(&mut self) -> &mut Gate {
        &mut self.gate
    }

    pub fn backlog(&self) -> &Backlog {
        &self.backlog
    }

    pub fn backlog_mut(&mut self) -> &mut Backlog {
        &mut self.backlog
    }

    pub fn publishing_mut(&mut self) -> &mut Publishing {
        &mut self.publishing
    }

    pub fn stats(&self) -> &SocketStats {
        &self.stats
    }

    pub fn stats_mut(&mut self) -> &mut SocketStats {
        &mut self.stats
    }

    /// The session, once the socket is authenticated.
    pub fn session(&self) -> Option<&Session> {
        match &self.state {
            ConnectionState::Open(Handler::Chat(Chat::Authenticated(session))) => Some(session),
            _ => None,
        }
    }

    /// See [`Self::session`].
    pub fn session_mut(&mut self) -> Option<&mut Session> {
        match &mut self.state {
            ConnectionState::Open(Handler::Chat(Chat::Authenticated(session))) => Some(session),
            _ => None,
        }
    }

    /// Whether the handshake deadline no longer applies: the client is authenticated, or the handler needs no
    /// authentication.
    pub fn is_established(&self) -> bool {
        match &self.state {
            ConnectionState::Open(handler) => handler.is_established(),
            ConnectionState::Closing => true,
        }
    }

    /// Whether messages are limited to the length of an access token.
    pub fn is_limited(&self) -> bool {
        matches!(&self.state, ConnectionState::Open(Handler::Chat(chat)) if !chat.is_authenticated())
    }

    /// Sets the maximum length of messages. `max_message` gets whether the socket is limited.
    pub fn limit_messages(&mut self, max_message: impl Fn(bool) -> usize) {
        self.intake.set_max_message(max_message(self.is_limited()));
    }

    /// Whether messages from the client are ignored and only its backlog is still sent.
    pub fn is_closing(&self) -> bool {
        matches!(self.state, ConnectionState::Closing)
    }

    /// Marks that the token is being verified.
    pub fn begin_authentication(&mut self) {
        self.set_chat(Chat::Authenticating);
    }

    /// Starts the session after the token was verified.
    pub fn authenticate(&mut self, session: Session, admitted: Admitted) {
        self.stats.set_user(session.user());
        self.admitted_user = Some(admitted);
        self.set_chat(Chat::Authenticated(Box::new(session)));
    }

    /// Ends the session after the token was refused or the client left the namespace. It may connect again with
    /// another token.
    pub fn reset_authentication(&mut self) {
        self.admitted_user = None;
        self.set_chat(Chat::Unauthenticated);
    }

    fn set_chat(&mut self, chat: Chat) {
        if let ConnectionState::Open(Handler::Chat(state)) = &mut self.state {
            *state = chat;
        }
    }

    /// Ignores all further messages and queues `frame` as the last one. Only the first call counts.
    pub fn begin_closing(&mut self, frame: Bytes, reason: &'static str) -> bool {
        if self.is_closing() {
            return false;
        }
        self.stats.set_reason(reason);
        self.state = ConnectionState::Closing;
        self.intake.clear();
        self.backlog.push(frame);
        true
    }

    /// Counts and decodes received bytes; [`Self::next_message`] returns the messages.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.stats.count_received(bytes.len());
        if self.is_closing() {
            self.intake.discard(bytes.len());
        } else {
            self.intake.feed(bytes);
        }
    }

    /// Replaces long-polling by a WebSocket. `decoder` may contain received bytes already.
    pub fn upgrade(&mut self, transport: Transport, decoder: Decoder) {
        self.transport = transport;
        self.stats.count_received(0);
        if !self.is_closing() {
            self.intake.set_decoder(decoder);
        }
    }

    /// Whether the client must read more of its answers before the socket is read from again.
    pub fn is_overloaded(&self) -> bool {
        self.backlog.outbox_bytes() > OUTBOX_PAUSES_READING
            || self.publishing.is_full()
            || self.gate.is_closed()
    }

    /// Whether the next message has to wait.
    pub fn is_paused(&self) -> bool {
        self.is_closing() || self.is_overloaded() || self.intake.is_flooding()
    }

    /// The condition to wait for before the socket is read from again; none if it can be read from now.
    pub fn pause(&mut self) -> Option<Pause> {
        if self.intake.take_throttle() {
            return Some(Pause::Throttled);
        }
        self.is_overloaded().then(|| self.gate.wait())
    }

    /// Wakes the reader if the socket may be read from again.
    pub fn resume(&mut self) {
        if !self.is_overloaded() {
            self.gate.resume();
        }
    }
}
