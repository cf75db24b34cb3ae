//! Received messages, from the Engine.IO layer to the handler.

use super::Socket;
use crate::{
    wire::{
        packet::EnginePacket,
        ws::{self, Message, Violation},
    },
    worker::socket::{handler::ConnectionState, reaction::Reaction},
};

impl Socket {
    /// Decodes the next message, unless the socket has to wait.
    pub fn next_message(&mut self) -> Result<Option<Message>, Violation> {
        if self.is_paused() { Ok(None) } else { self.intake.next_message() }
    }

    /// Handles a message of either transport.
    pub fn on_message(&mut self, message: Message) -> Result<Reaction, Violation> {
        let ConnectionState::Open(handler) = &mut self.state else {
            // The client closes the session too, so no poll will fetch the backlog.
            let is_close = message == Message::Text("1".to_owned());
            let is_over = is_close && self.transport.is_polling();
            return Ok(if is_over { Reaction::Remove } else { Reaction::Ignore });
        };
        let intake = &mut self.intake;
        match message {
            Message::Text(text) => match EnginePacket::parse(&text)? {
                EnginePacket::Message(data) => {
                    intake.check_text()?;
                    handler.on_text(&text, data, intake, &mut self.stats)
                }
                EnginePacket::Binary(bytes) => handler.on_binary(&bytes, intake),
                EnginePacket::Ping(data) => {
                    intake.count_control();
                    Ok(Reaction::Send(ws::text(&["3", data])))
                }
                EnginePacket::Pong | EnginePacket::Noop | EnginePacket::Upgrade => {
                    intake.count_control();
                    Ok(Reaction::Ignore)
                }
                EnginePacket::Close => Ok(Reaction::Close),
            },
            Message::Binary(bytes) => handler.on_binary(&bytes, intake),
            Message::Ping(payload) => {
                intake.count_control();
                Ok(Reaction::Send(ws::pong(&payload)))
            }
            Message::Pong => {
                intake.count_control();
                Ok(Reaction::Ignore)
            }
            Message::Close => Ok(Reaction::Close),
        }
    }
}
