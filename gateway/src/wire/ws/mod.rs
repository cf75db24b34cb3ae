//! WebSocket framing (RFC 6455, section 5), without I/O. A server's frames are not masked, so a frame is
//! encoded once and shared by all its receivers.

mod decode;
mod encode;
mod opcode;

pub use self::{
    decode::{Decoder, Message, Violation, protocol_error},
    encode::{ServerFrame, binary, close, pong, put_text, split_frame, text},
};
