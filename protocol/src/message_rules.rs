//! The rules for a message's text that depend on more than the text. HTTP and sockets both apply them.

use crate::{Code, MessageText, code::Refusal};

/// Why a message's text is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageTextError {
    /// The text is blank, and the message has no file.
    #[error("a message has text or a file")]
    Empty,
    #[error("a message has at most {limit} characters, this one has {chars}")]
    TooLong { chars: usize, limit: usize },
}

/// Checks the text of a new message, an edit or a broadcast. `limit` is the operator's
/// `LIMIT_MESSAGE_CHARS`.
pub fn check_text(
    text: &MessageText,
    has_file: bool,
    limit: usize,
) -> Result<(), MessageTextError> {
    if text.is_blank() && !has_file {
        return Err(MessageTextError::Empty);
    }
    let chars = text.chars();
    if chars > limit { Err(MessageTextError::TooLong { chars, limit }) } else { Ok(()) }
}

impl From<MessageTextError> for Refusal {
    fn from(error: MessageTextError) -> Self {
        let code = match error {
            MessageTextError::Empty => Code::MessageEmpty,
            MessageTextError::TooLong { .. } => Code::MessageTooLong,
        };
        Self::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str, has_file: bool, limit: usize) -> Option<Code> {
        let text = MessageText::parse(text).unwrap();
        check_text(&text, has_file, limit).err().map(|error| Refusal::from(error).code)
    }

    #[test]
    fn a_message_has_text_or_a_file() {
        assert_eq!(code(" \n", false, 10), Some(Code::MessageEmpty));
        assert_eq!(code("", true, 10), None);
        assert_eq!(code("x", false, 10), None);
    }

    #[test]
    fn a_text_is_measured_in_characters() {
        assert_eq!(code("안녕하세요", false, 5), None);
        assert_eq!(code("안녕하세요!", false, 5), Some(Code::MessageTooLong));
        assert_eq!(code("안녕하세요!", true, 5), Some(Code::MessageTooLong));
    }
}
