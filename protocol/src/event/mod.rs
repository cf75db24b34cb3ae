//! The Socket.IO events that are not stored, and the acknowledgements of all client events.
//!
//! Stored events are in [`crate::stored`]. A client receives both kinds in the same form:
//! `["<name>",{"roomId":…,…}]`.

mod ack;
mod client;
mod server;

pub use self::{
    ack::{Done, Empty, Joined, Online, Stored, encode_ack},
    client::{
        ClientEvent, DeleteMsg, EditMsg, JoinRoom, LeaveRoom, New, React, Read, Refresh,
        RoomBroadcast, SendMsg, Signal, Typing,
    },
    server::ServerEvent,
};
