//! The handler of a socket's Engine.IO messages: chat, or the conformance echo.

use super::{chat::Chat, echo::Echo, intake::Intake, reaction::Reaction, stats::SocketStats};
use crate::wire::{packet::Packet, ws::Violation};

/// The state of a connection.
pub enum ConnectionState {
    /// Messages are handled.
    Open(Handler),
    /// Messages are ignored; the backlog is still sent.
    Closing,
}

/// Handles the messages of a socket.
pub enum Handler {
    Chat(Chat),
    /// Only if `CONFORMANCE_ECHO` is set.
    Echo(Box<Echo>),
}

impl Handler {
    /// See [`super::Socket::is_established`].
    pub fn is_established(&self) -> bool {
        match self {
            Self::Chat(chat) => chat.is_authenticated(),
            Self::Echo(echo) => echo.is_established(),
        }
    }

    /// Handles a text message; `data` is `message` without its type.
    pub fn on_text(
        &mut self,
        message: &str,
        data: &str,
        intake: &mut Intake,
        stats: &mut SocketStats,
    ) -> Result<Reaction, Violation> {
        match self {
            Self::Chat(chat) => chat.on_packet(&Packet::parse(data)?, intake, stats),
            Self::Echo(echo) => echo.on_text(message, data, intake),
        }
    }

    /// Handles a binary message.
    pub fn on_binary(&mut self, bytes: &[u8], intake: &mut Intake) -> Result<Reaction, Violation> {
        match self {
            // The event that announced the attachment was refused.
            Self::Chat(_) => intake.take_attachment().map(|_| Reaction::Ignore),
            Self::Echo(echo) => echo.on_binary(bytes, intake),
        }
    }
}
