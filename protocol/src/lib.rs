//! The wire contract of Chatting-room: only types and names that cross a process boundary.
//!
//! Ids, parsed names, every chat event, NATS subjects, tokens and limits. Without I/O: this crate must not
//! depend on a web server, a database or a NATS client, so that functions and gateway share only the contract.

pub mod asyncapi;
pub mod code;
pub mod event;
pub mod fold;
pub mod id;
pub mod json;
pub mod limits;
pub mod message_lookup;
pub mod message_rules;
pub mod name;
pub mod presence;
pub mod rate;
pub mod role;
pub mod safe_integer;
mod schema;
pub mod seq;
pub mod stored;
pub mod subject;
pub mod time;
pub mod token;

pub use code::Code;
pub use id::{FileId, MessageId, RoomId, SessionId, UserId};
pub use name::{
    DisplayName, Emoji, FileName, MessageText, ParseNameError, RoomName, RoomTitle, UserName,
};
pub use role::Role;
pub use seq::Seq;
pub use time::Timestamp;
