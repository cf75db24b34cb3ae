//! The receiving side of a socket: decoding of messages, and the limits that apply before a handler gets them.

use std::time::Instant;

use protocol::rate::Rate;

use crate::{
    memory::{Exhausted, Reservation},
    rate::RateLimiter,
    wire::ws::{Decoder, Message, Violation, protocol_error},
};

/// Bytes that are read and discarded at full speed after a close, so that a client in the middle of a message
/// can receive the reason. Further bytes are read slowly.
const DISCARDED_FREELY: usize = 1024 * 1024;
/// How often one connection may connect to a namespace. Each time costs the verification of a signature.
const CONNECTS: u32 = 20;

/// See the module.
pub struct Intake {
    decoder: Decoder,
    /// Memory for the bytes of incomplete messages in the decoder.
    reservation: Reservation,
    /// Number of expected binary messages, which belong to the last event.
    attachments: u32,
    connects: u32,
    /// The rate limiter for pings, pongs and other packets without content.
    control: RateLimiter,
    control_rate: Option<Rate>,
    /// An event over the rate limit was refused: reading pauses for a moment.
    throttled: bool,
    /// Control packets exceed their rate limit. They cannot be refused, so reading pauses.
    flooding: bool,
    /// Bytes discarded since the socket began to close.
    discarded: usize,
}

impl Intake {
    /// Nothing received yet.
    pub fn new(decoder: Decoder, reservation: Reservation, control_rate: Option<Rate>) -> Self {
        Self {
            decoder,
            reservation,
            attachments: 0,
            connects: 0,
            control: RateLimiter::new(Instant::now()),
            control_rate,
            throttled: false,
            flooding: false,
            discarded: 0,
        }
    }

    /// Passes bytes to the decoder.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.decoder.feed(bytes);
    }

    /// Counts bytes that are not decoded because the socket is closing.
    pub fn discard(&mut self, bytes: usize) {
        self.discarded = self.discarded.saturating_add(bytes);
        self.throttled |= self.discarded > DISCARDED_FREELY;
    }

    /// The next complete message.
    pub fn next_message(&mut self) -> Result<Option<Message>, Violation> {
        self.decoder.message()
    }

    /// Sets the maximum length of incomplete messages.
    pub fn set_max_message(&mut self, bytes: usize) {
        self.decoder.set_max_message(bytes);
    }

    /// Replaces the decoder by that of a new transport.
    pub fn set_decoder(&mut self, decoder: Decoder) {
        self.decoder = decoder;
    }

    /// Drops all received bytes.
    pub fn clear(&mut self) {
        self.decoder.clear();
    }

    /// Reserves memory for incomplete messages.
    pub fn reserve(&mut self) -> Result<(), Exhausted> {
        self.reservation.try_follow(self.decoder.held())
    }

    /// Counts a packet without content.
    pub fn count_control(&mut self) {
        self.flooding |= !self.control.admit(self.control_rate, Instant::now());
    }

    /// Counts an attempt to connect to a namespace.
    pub fn count_connect(&mut self) -> Result<(), Violation> {
        self.connects += 1;
        if self.connects > CONNECTS {
            return Err(Violation { code: 1008, reason: "too many connects" });
        }
        Ok(())
    }

    /// Pauses reading after the current message.
    pub fn throttle(&mut self) {
        self.throttled = true;
    }

    /// Whether control packets exceed their rate.
    pub fn is_flooding(&self) -> bool {
        self.flooding
    }

    /// Whether reading has to pause for a moment. Resets both reasons.
    pub fn take_throttle(&mut self) -> bool {
        let throttled = std::mem::take(&mut self.throttled);
        std::mem::take(&mut self.flooding) || throttled
    }

    /// Expects `count` binary messages next.
    pub fn expect_attachments(&mut self, count: u32) {
        self.attachments = count;
    }

    /// Checks that a message packet with text is not received in place of an attachment.
    pub fn check_text(&self) -> Result<(), Violation> {
        match self.attachments {
            0 => Ok(()),
            _ => Err(protocol_error("text where an attachment belongs")),
        }
    }

    /// Counts a received attachment. Returns whether it is the last expected one.
    pub fn take_attachment(&mut self) -> Result<bool, Violation> {
        let left = self.attachments.checked_sub(1);
        self.attachments = left.ok_or(protocol_error("a binary message that nothing announced"))?;
        Ok(self.attachments == 0)
    }
}
