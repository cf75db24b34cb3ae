//! The rules that all sessions of a gateway share, and their refusals.

use protocol::{
    Code, MessageText,
    code::Refusal,
    message_rules,
    subject::Revoked,
    token::{Access, TokenError},
};

use crate::{config::Limits, revoked::RevokedSet};

/// See the module.
pub struct Rules {
    pub limits: Limits,
    pub revoked: RevokedSet,
}

impl Rules {
    /// Refuses a token whose session or user was revoked.
    pub fn check_revoked(&self, access: &Access) -> Result<(), Refusal> {
        let revoked = [Revoked::Session(access.session), Revoked::User(access.user)];
        if self.revoked.contains_any(&revoked) {
            return Err(Refusal::new(Code::SessionRevoked, "the session is over; log in again"));
        }
        Ok(())
    }

    /// Refuses a text that is blank or too long.
    pub fn check_text(&self, text: &MessageText, has_file: bool) -> Result<(), Refusal> {
        Ok(message_rules::check_text(text, has_file, self.limits.message_chars)?)
    }
}

/// The refusal of an access token.
pub fn token_refusal(error: TokenError) -> Refusal {
    let code = match error {
        TokenError::Expired => Code::TokenExpired,
        TokenError::WrongKind => Code::TokenWrongKind,
        TokenError::Invalid | TokenError::UnknownKey => Code::TokenInvalid,
    };
    Refusal::new(code, error.to_string())
}

/// The refusal of a room ticket.
pub fn ticket_refusal(error: TokenError) -> Refusal {
    let code = match error {
        TokenError::Expired => Code::TicketExpired,
        TokenError::WrongKind => Code::TicketWrongKind,
        TokenError::Invalid | TokenError::UnknownKey => Code::TicketInvalid,
    };
    Refusal::new(code, format!("{error}; enter the room again for a new ticket"))
}

/// The refusal of an event that only a socket in the room may send.
pub fn not_joined() -> Refusal {
    Refusal::new(Code::NotJoined, "join the room first")
}
